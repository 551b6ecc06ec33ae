//! The text of an expectation.

use std::{str::FromStr, time::Duration};

use platform::duration;

use super::{Anchor, Bound, Count, Expectation, Latency, Limit, Within, measure, measure::SPREAD};
use crate::{Share, hint, named, parse_count, spread};

/// Why a text is not an expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expectation `{text}`: {reason}")]
pub struct ExpectationError {
    text: String,
    reason: String,
}

impl FromStr for Expectation {
    type Err = ExpectationError;

    fn from_str(text: &str) -> Result<Self, ExpectationError> {
        // A decision may contain any words.
        let parsed = match decided(text) {
            Some(decided) => decided,
            None if text.contains('→') || text.contains("->") => scale(text),
            None => measured(text),
        };
        parsed.map_err(|reason| ExpectationError { text: text.to_owned(), reason })
    }
}

/// `decided 9 of 10 sessions`, `never decided becomes inactive`.
fn decided(text: &str) -> Option<Result<Expectation, String>> {
    let (never, rest) = match text.trim().strip_prefix("never ") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.trim()),
    };
    let words =
        rest.strip_prefix("decided").filter(|words| words.is_empty() || words.starts_with(' '))?.trim();
    let text = words.to_owned();
    Some(if text.is_empty() {
        Err("expected words of a decision behind `decided`, such as `decided sheds 3`".to_owned())
    } else {
        Ok(Expectation::Decided { text, never })
    })
}

/// `lost = 0`, `connected >= 10000`, `connect p99 <= 1s`.
fn measured(text: &str) -> Result<Expectation, String> {
    // Such as `decied sheds 3`.
    const OF_DECISIONS: [&str; 2] = ["never", "decided"];
    let of_decisions = || {
        let mut words = text.split_whitespace().take(2).filter(|word| !OF_DECISIONS.contains(word));
        words.find_map(|word| Some(hint(word, OF_DECISIONS)).filter(|hint| !hint.is_empty()))
    };
    let shape = || {
        format!(
            "expected a name, <=, >= or =, and a limit, such as `lost = 0`; or a change such as `tcp 1 → 2`{}",
            of_decisions().unwrap_or_default()
        )
    };
    let (at, sign) = ["<=", ">=", "="]
        .iter()
        .filter_map(|sign| Some((text.find(sign)?, *sign)))
        .min_by_key(|(at, sign)| (*at, usize::MAX - sign.len()))
        .ok_or_else(shape)?;
    let (name, limit) = (text[..at].trim(), text[at + sign.len()..].trim());
    if let Some(limit) = limit.strip_prefix('=').filter(|_| sign == "=") {
        return Err(format!("write one =: `{name} = {}`", limit.trim()));
    }
    if name == SPREAD {
        if sign != "=" {
            return Err("a spread is what it is: use =".to_owned());
        }
        return spread::parse(limit).map(Expectation::Spread);
    }
    if let Some(what) = Count::by_name(name) {
        let limit = self::limit(what, limit)?;
        let bound = match sign {
            ">=" => Bound::AtLeast,
            "=" if limit != Limit::Number(0) && what.can_be_exact() => Bound::Exactly,
            // Equality means something only where less than the limit is not possible.
            "=" if limit != Limit::Number(0) => return Err("use <= or >=; = is for 0 only".to_owned()),
            _ => Bound::AtMost,
        };
        return Ok(Expectation::Count { what, bound, limit });
    }
    if let Some(what) = Latency::parse(name) {
        if sign != "<=" {
            return Err("a latency has an upper limit: use <=".to_owned());
        }
        let at_most = time(limit)?;
        return Ok(Expectation::Latency { what, at_most });
    }
    let names: Vec<String> = measure::names().collect();
    let known = names.iter().map(String::as_str);
    let hint = Some(hint(name, known)).filter(|hint| !hint.is_empty());
    Err(format!(
        "`{name}` is not measured{}",
        hint.unwrap_or_else(|| format!("; what is: {}", names.join(", ")))
    ))
}

/// `10000`, `10k`, or `99.9%` of all.
fn limit(what: Count, text: &str) -> Result<Limit, String> {
    if !text.ends_with('%') {
        return parse_count(text).map(Limit::Number);
    }
    if !what.can_be_a_share() {
        return Err(format!("{what} is not a share of anything counted; give a number"));
    }
    text.parse::<Share>().map(|share| Limit::Share(share.hundredths()))
}

/// `tcp 1 → 2`, `tcp 1 -> 2 within 30s of crossing`.
fn scale(text: &str) -> Result<Expectation, String> {
    const SHAPE: &str = "expected a change such as `tcp 1 → 2`, or `tcp 1 → 2 within 30s of crossing`";
    let spaced = text.replace("->", "→").replace('→', " → ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let [service, from, "→", to, rest @ ..] = words.as_slice() else {
        return Err(SHAPE.to_owned());
    };
    let number =
        |text: &str| text.parse::<u32>().map_err(|_| format!("`{text}` is not a number of replicas"));
    let (from, to) = (number(from)?, number(to)?);
    if from == to {
        return Err(format!("{from} → {to} is not a change"));
    }
    let within = match rest {
        [] => None,
        ["within", time, "of", anchor] => Some(Within { time: self::time(time)?, of: self::anchor(anchor)? }),
        _ => return Err(SHAPE.to_owned()),
    };
    Ok(Expectation::Scale { service: (*service).to_owned(), from, to, within })
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

fn anchor(text: &str) -> Result<Anchor, String> {
    let names = Anchor::NAMES.map(|(name, _)| name);
    named(&Anchor::NAMES, text)
        .ok_or_else(|| format!("`{text}` is not one of {}{}", names.join(", "), hint(text, names)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn expectations_survive_parsing_and_printing() {
        for text in [
            "lost = 0",
            "refused <= 5",
            "connected >= 10000",
            "p99 <= 50ms",
            "connect p99 <= 1s",
            "lateness max <= 2ms",
            "answered >= 99.5%",
            "emptiest >= 45%",
            "broadcasts-missed = 0",
            "broadcast max <= 1s",
            "tcp 1 → 2",
            "tcp 2 → 1 within 2m10s of close",
            "tcp 1 → 2 within 30s of crossing",
            "replicas = 6",
            "decisions <= 2",
            "fullest <= 7",
            "refused-without-hint = 0",
            "busiest-second <= 440",
            "spread = 6/6/6/4",
            "decided 9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers",
            "decided 1 → 2",
            "never decided becomes inactive",
        ] {
            let expectation: Expectation = text.parse().unwrap();
            assert_eq!(expectation.to_string(), text);
        }
        assert_eq!("tcp 1->2".parse::<Expectation>().unwrap(), Expectation::scale("tcp", 1, 2));
        assert_eq!("connected >= 10k".parse::<Expectation>().unwrap(), Expectation::connected(10_000));
        assert_eq!("lost <= 0".parse::<Expectation>().unwrap(), Expectation::lost(0));
        assert_eq!(
            "message p99 <= 1s".parse::<Expectation>().unwrap(),
            Expectation::p99(Duration::from_secs(1))
        );
    }

    #[test]
    fn mistakes_in_expectations_are_explained() {
        for (text, reason) in [
            ("lots = 0", "did you mean `lost`?"),
            ("lost = many", "`many` is not a whole number"),
            ("lost = 3", "= is for 0 only"),
            ("spread = 4/6", "the most first, as in 6/4"),
            ("spread <= 6/4", "use ="),
            ("spraed = 6/4", "did you mean `spread`?"),
            ("decided ", "expected words of a decision"),
            ("never decided", "expected words of a decision"),
            ("decidedly x", "such as `lost = 0`"),
            ("decied sheds 3", "did you mean `decided`?"),
            ("never decded becomes inactive", "did you mean `decided`?"),
            ("nevr decided becomes inactive", "did you mean `never`?"),
            ("conect p99 <= 1s", "did you mean `connect p99`?"),
            ("refused <= 1%", "refused is not a share of anything"),
            ("answered >= 101%", "`101%` is not a share"),
            ("p99 >= 5ms", "use <="),
            ("p99 <= 5", "has no unit"),
            ("lost", "such as `lost = 0`"),
            ("tcp 1 →", "expected a change"),
            ("tcp x → 2", "`x` is not a number of replicas"),
            ("tcp 2 → 2", "is not a change"),
            ("tcp 1 → 2 within 3s of noon", "`noon` is not one of"),
            ("tcp 1 → 2 within 3s of colse", "did you mean `close`?"),
        ] {
            let error = text.parse::<Expectation>().expect_err(text).to_string();
            assert!(error.contains(text) && error.contains(reason), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = text.parse::<Expectation>();
        }
    }
}
