//! The two text formats for metrics: `OpenMetrics` for clients that request it, classic Prometheus text for the rest.
//!
//! [`prometheus_client`] only writes `OpenMetrics`. Counters, gauges and histograms differ only in their comments: the
//! classic text names a family like its samples (`messages_total`) where `OpenMetrics` omits the suffix, and has
//! neither `# UNIT` nor `# EOF`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use prometheus_client::{encoding::text, registry::Registry};
use tokio::sync::Mutex;

const OPEN_METRICS: &str = "application/openmetrics-text";
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// After generating a page, wait this many times as long before the next one: probes are answered meanwhile.
const REST_FACTOR: u32 = 4;
/// But no longer than this, however long a busy machine took: a scraper has a second for its answer.
const REST_MAX: Duration = Duration::from_millis(100);

/// The page of a registry. Generating one can be costly, and any number of clients may request it. So clients that wait
/// at the same time share one, which was started after each of them had asked.
#[derive(Debug)]
pub(super) struct Exposition {
    metrics: Registry,
    asked: AtomicU64,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    /// For requests up to this number; and the earliest time to generate the next one.
    upto: u64,
    rests_until: Option<Instant>,
    /// Kept while another client waits for it.
    page: Option<Result<Page, std::fmt::Error>>,
}

#[derive(Debug, Clone)]
struct Page {
    classic: Bytes,
    open_metrics: Bytes,
}

impl Exposition {
    pub(super) fn new(metrics: Registry) -> Self {
        Self { metrics, asked: AtomicU64::new(0), made: Mutex::default() }
    }

    /// The metrics in the requested format: media type and text.
    pub(super) async fn answer(&self, request: &HeaderMap) -> Result<(&'static str, Bytes), std::fmt::Error> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut made = self.made.lock().await;
        let page = match &made.page {
            Some(page) if made.upto >= number => page.clone(),
            _ => {
                if let Some(until) = made.rests_until {
                    // It stays recorded: the next client must wait too, if this client hangs up meanwhile.
                    tokio::time::sleep_until(until.into()).await;
                }
                let (upto, began) = (self.asked.load(Ordering::Relaxed), clock::now());
                let page = make(&self.metrics);
                let ended = clock::now();
                made.rests_until = Some(ended + rest(ended - began));
                made.page = Some(page.clone());
                made.upto = upto;
                page
            }
        };
        // They are served in the order of their requests.
        if made.upto <= number {
            made.page = None;
        }
        drop(made);
        let page = page?;
        Ok(if wants_open_metrics(request) {
            (OPEN_METRICS_TYPE, page.open_metrics)
        } else {
            (CLASSIC_TYPE, page.classic)
        })
    }
}

/// The pause after a page that took this long to generate.
fn rest(took: Duration) -> Duration {
    took.saturating_mul(REST_FACTOR).min(REST_MAX)
}

fn make(metrics: &Registry) -> Result<Page, std::fmt::Error> {
    let mut page = String::new();
    text::encode(&mut page, metrics)?;
    Ok(Page { classic: classic(&page).into(), open_metrics: page.into() })
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
    use futures_util::FutureExt as _;
    use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram};
    use prometheus_client::registry::Unit;
    use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

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
        let answer = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(Exposition::new(metrics).answer(&request));
        let (kind, page) = answer.unwrap();
        (kind, String::from_utf8(page.to_vec()).unwrap())
    }

    /// A metric that takes some time to read, and counts its reads.
    #[derive(Debug)]
    struct Costly(std::sync::Arc<AtomicU64>);

    impl Collector for Costly {
        fn encode(&self, _: DescriptorEncoder<'_>) -> std::fmt::Result {
            let began = clock::now();
            while began.elapsed() < Duration::from_millis(1) {
                std::hint::spin_loop();
            }
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[tokio::test]
    async fn concurrent_requests_share_a_page_and_a_later_one_gets_its_own() {
        let mut metrics = Registry::default();
        let made = std::sync::Arc::new(AtomicU64::new(0));
        metrics.register_collector(Box::new(Costly(std::sync::Arc::clone(&made))));
        let exposition = Exposition::new(metrics);
        let request = HeaderMap::new();
        let at_once = futures_util::future::join_all((0..1000).map(|_| exposition.answer(&request)));
        assert!(at_once.await.iter().all(Result::is_ok));
        let shared = made.load(Ordering::Relaxed);
        assert!(shared <= 2, "made {shared} times");
        for later in 1..=3 {
            exposition.answer(&request).await.unwrap();
            assert_eq!(made.load(Ordering::Relaxed), shared + later);
        }
        assert!(exposition.made.lock().await.page.is_none(), "nothing is kept for nobody");
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_during_the_rest_does_not_end_it() {
        let mut metrics = Registry::default();
        let made = std::sync::Arc::new(AtomicU64::new(0));
        metrics.register_collector(Box::new(Costly(std::sync::Arc::clone(&made))));
        let exposition = Exposition::new(metrics);
        exposition.made.lock().await.rests_until = Some(clock::now() + Duration::from_hours(1));
        let request = HeaderMap::new();
        for _ in 0..10 {
            assert!(exposition.answer(&request).now_or_never().is_none(), "it waits");
        }
        assert_eq!(made.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_rest_is_short_however_long_a_page_took() {
        assert_eq!(rest(Duration::from_millis(5)), Duration::from_millis(20));
        for took in [Duration::from_millis(250), Duration::MAX] {
            assert_eq!(rest(took), REST_MAX);
        }
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
    fn open_metrics_is_sent_on_request_only() {
        // The request of Prometheus 3.
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
