//! Numbers and times for people.

use platform::event::Ending;

/// `10,000`
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `5,504` or `0.25`, from milli-units.
pub(crate) fn milli(value: i64) -> String {
    let magnitude = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    // Beyond ten, a fraction of a connection or of a per cent means nothing.
    if magnitude >= 10_000 || magnitude.is_multiple_of(1000) {
        return format!("{sign}{}", thousands(magnitude.saturating_add(500) / 1000));
    }
    format!("{sign}{}.{:02}", magnitude / 1000, magnitude % 1000 / 10)
}

/// `10k`, `2.5k`, `1.2M`: for axes.
pub(crate) fn compact(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let text = format!("{scaled:.1}");
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// `0:27.9`, `1:02:03.4`: a moment of a run.
pub(crate) fn clock(t_ms: u64) -> String {
    // Tenths are truncated, not rounded: an event never seems later than one that followed it.
    let tenths = t_ms / 100;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}.{tenth}")
    } else {
        format!("{minutes}:{seconds:02}.{tenth}")
    }
}

/// `1:30`, `2:00:00`: a mark on an axis.
pub(crate) fn mark(t_ms: u64) -> String {
    let clock = clock(t_ms);
    clock.strip_suffix(".0").map_or_else(|| clock.clone(), str::to_owned)
}

/// `31 ms`, `8.3 s`, `106 s`, `5 min 12 s`
pub(crate) fn seconds(ms: u64) -> String {
    match ms {
        0..100 => format!("{ms} ms"),
        100..100_000 => format!("{} s", tenths(ms)),
        100_000..300_000 => format!("{} s", ms.saturating_add(500) / 1000),
        _ => {
            let seconds = ms.saturating_add(500) / 1000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

/// `2.4`: seconds without a unit, for sums.
pub(crate) fn tenths(ms: u64) -> String {
    let tenths = ms.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `5 ms`, `1.5 s`, `200 µs`: an interval set by a user.
pub(crate) fn interval(us: u64) -> String {
    let exact = |unit: u64| {
        let text = format!("{:.3}", us as f64 / unit as f64);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", exact(1_000)),
        1_000_000..120_000_000 => format!("{} s", exact(1_000_000)),
        _ => format!("{} min", exact(60_000_000)),
    }
}

/// `0.24`, `4.1`, `132`: milliseconds from microseconds, to two significant digits.
pub(crate) fn latency(us: u64) -> String {
    let ms = us as f64 / 1000.0;
    match us {
        0..1_000 => format!("{ms:.2}"),
        1_000..10_000 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}

/// Whether a replica has a name: other people's servers do not say which one serves a connection.
pub(crate) fn is_known(replica: &str) -> bool {
    replica != "unknown"
}

/// `1 connection`, `2 connections`
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// `4001 Server Rebalancing: 12`, `503 Service Unavailable: 3`.
pub fn ending(ending: &Ending) -> String {
    // The status is already in its line.
    let reason = ending.reason.split_once(' ').filter(|(http, _)| http.starts_with("HTTP/"));
    match (reason, ending.reason.as_str()) {
        (Some((_, status)), _) => format!("{status}: {}", thousands(ending.count)),
        (None, "") => format!("{}: {}", ending.code, thousands(ending.count)),
        (None, reason) => format!("{} {reason}: {}", ending.code, thousands(ending.count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [5_504_000, 250, -1_500, 12_345, 5_504_499].map(milli),
            ["5,504", "0.25", "-1.50", "12", "5,504"]
        );
        assert_eq!([0.0, 7.5, 10_000.0, 2_500.0, 1.2e6].map(compact), ["0", "7.5", "10k", "2.5k", "1.2M"]);
        assert_eq!(plural(1, "pod", "pods"), "1 pod");
        assert_eq!(plural(0, "pod", "pods"), "0 pods");
    }

    #[test]
    fn times() {
        assert_eq!(
            [0, 27_949, 59_999, 186_300, 3_723_400].map(clock),
            ["0:00.0", "0:27.9", "0:59.9", "3:06.3", "1:02:03.4"]
        );
        assert_eq!([90_000, 7_500].map(mark), ["1:30", "0:07.5"]);
        assert_eq!([31, 8_300, 106_300, 312_000].map(seconds), ["31 ms", "8.3 s", "106 s", "5 min 12 s"]);
        assert_eq!(
            [200, 5_000, 1_000_000, 1_500_000, 240_000_000].map(interval),
            ["200 µs", "5 ms", "1 s", "1.5 s", "4 min"]
        );
        assert_eq!([40, 242, 1_949, 132_400].map(latency), ["0.04", "0.24", "1.9", "132"]);
    }
}
