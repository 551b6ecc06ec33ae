//! The two text formats for metrics: `OpenMetrics` for clients that ask for it, classic Prometheus text for the rest.
//!
//! [`prometheus_client`] only writes `OpenMetrics`. Counters, gauges and histograms differ in their comments only: the
//! classic text names a family as its samples are named (`messages_total`) where `OpenMetrics` leaves the suffix out,
//! and knows neither `# UNIT` nor `# EOF`.

use axum::http::{HeaderMap, header};
use prometheus_client::{encoding::text, registry::Registry};

const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The metrics as the client asked for them: media type and text.
pub(super) fn of(metrics: &Registry, request: &HeaderMap) -> Result<(&'static str, String), std::fmt::Error> {
    let mut page = String::new();
    text::encode(&mut page, metrics)?;
    Ok(if wants_open_metrics(request) { (OPEN_METRICS_TYPE, page) } else { (CLASSIC_TYPE, classic(&page)) })
}

/// Prometheus lists the formats it accepts by preference, with `OpenMetrics` before the classic text.
fn wants_open_metrics(request: &HeaderMap) -> bool {
    let accepted = request.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let (name, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let refused = parameters.split(';').any(|parameter| {
            let quality = parameter.trim().strip_prefix("q=").map(str::parse::<f32>);
            matches!(quality, Some(Ok(quality)) if quality <= 0.0)
        });
        name.trim().eq_ignore_ascii_case(OPEN_METRICS) && !refused
    })
}

fn classic(page: &str) -> String {
    let mut out = String::with_capacity(page.len());
    let mut help: Option<(&str, &str)> = None;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The next line says whether the family is a counter.
            help = rest.split_once(' ');
        } else if let Some((family, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, text)) = help.take().filter(|(described, _)| *described == family) {
                add(&mut out, &["# HELP ", family, suffix, " ", text]);
            }
            add(&mut out, &["# TYPE ", family, suffix, " ", kind]);
        } else if !line.starts_with('#') {
            add(&mut out, &[line]);
        }
    }
    out
}

fn add(out: &mut String, words: &[&str]) {
    out.extend(words.iter().copied().chain(["\n"]));
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
    use prometheus_client::registry::Unit;

    use super::*;

    fn asked(accept: &str) -> (&'static str, String) {
        let mut metrics = Registry::default();
        let messages: Family<[(&str, &str); 1], Counter> = Family::default();
        messages.get_or_create(&[("command", "msg")]).inc_by(3);
        metrics.register("messages", "Messages answered", messages);
        let open: Gauge = Gauge::default();
        metrics.register("open", "Connections", open);
        let took = Histogram::new([0.5]);
        took.observe(0.25);
        metrics.register_with_unit("took", "Time", Unit::Seconds, took);
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT, accept.parse().unwrap());
        of(&metrics, &request).unwrap()
    }

    #[test]
    fn the_classic_text_names_families_as_their_samples() {
        let (kind, page) = asked("*/*");
        assert_eq!(kind, CLASSIC_TYPE);
        assert_eq!(
            page,
            "# HELP messages_total Messages answered.\n\
             # TYPE messages_total counter\n\
             messages_total{command=\"msg\"} 3\n\
             # HELP open Connections.\n\
             # TYPE open gauge\n\
             open 0\n\
             # HELP took_seconds Time.\n\
             # TYPE took_seconds histogram\n\
             took_seconds_sum 0.25\n\
             took_seconds_count 1\n\
             took_seconds_bucket{le=\"0.5\"} 1\n\
             took_seconds_bucket{le=\"+Inf\"} 1\n"
        );
    }

    #[test]
    fn open_metrics_is_for_who_asks_for_it() {
        // As Prometheus 3 asks.
        let (kind, page) = asked(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
        );
        assert_eq!(kind, OPEN_METRICS_TYPE);
        assert!(page.contains("# TYPE messages counter\n") && page.ends_with("# EOF\n"), "{page}");
        for plain in ["text/plain", "application/openmetrics-text;q=0", "application/json"] {
            assert_eq!(asked(plain).0, CLASSIC_TYPE, "{plain}");
        }
    }
}
