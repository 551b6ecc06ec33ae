//! `playctl scale SERVICE N`

use jiff::Timestamp;
use platform::{Target, TargetError, exit, target::Scaled};

use crate::{context::Context, failure::Outcome, platform_source, results};

/// Set a service's number of replicas, like kubectl scale
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl scale tcp 3
  playctl scale tcp 0        none, and no autoscaling until scaled up again

Removed replicas are drained: their clients get a notice and reconnect
elsewhere. The autoscaler continues from the new number at its next sync, within
its bounds; 0 disables it.")]
pub(crate) struct Args {
    /// The service, such as tcp
    service: String,
    /// The number of replicas
    replicas: u32,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::target(context)?;
    let result = scale(&*target, &args.service, args.replicas)?;
    context.printer.lines(in_words(&result));
    context.printer.document(&result);
    Ok(exit::DONE)
}

pub(crate) fn scale(
    target: &dyn Target,
    service: &str,
    replicas: u32,
) -> Result<results::Scale, TargetError> {
    let scaled = target.scale(service, replicas)?;
    let snapshot = target.snapshot()?;
    let of_service = snapshot.services.iter().find(|known| known.name == service);
    let is_autoscaled = scaled.autoscaled.is_some() && scaled.to > 0;
    let next_sync = snapshot.next_sync.filter(|_| is_autoscaled);
    Ok(results::Scale {
        service: service.to_owned(),
        next_sync_in_ms: next_sync.map(|at| until(at, clock::wall())),
        pending: of_service.map_or(0, |service| service.pending),
        scaled,
    })
}

fn until(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(at.duration_since(now).as_millis()).unwrap_or(0)
}

pub(crate) fn in_words(result: &results::Scale) -> Vec<String> {
    let results::Scale { service, scaled, next_sync_in_ms, pending } = result;
    let Scaled { from, to, autoscaled } = *scaled;
    let done =
        if from == to { format!("{service} already has {to}") } else { format!("{service} {from} → {to}") };
    let mut lines = vec![done];
    match pending {
        0 => {}
        1 => lines.push("1 is pending: no room on this platform; it starts when others are gone".to_owned()),
        many => lines
            .push(format!("{many} are pending: no room on this platform; they start when others are gone")),
    }
    let sync = next_sync_in_ms.map_or_else(
        || "its next sync".to_owned(),
        |ms| format!("its next sync, in {} s", ms.div_ceil(1000)),
    );
    lines.extend(autoscaled.map(|(min, max)| match to {
        0 => format!("its autoscaler ({min} to {max}) does nothing at 0 replicas; to re-enable it: playctl scale {service} {min}"),
        to if to > max => format!("its autoscaler allows at most {max}: back to {max} at {sync}"),
        to if to < min => format!("its autoscaler wants at least {min}: up to {min} at {sync}"),
        to => format!("its autoscaler ({min} to {max}) continues from {to} and may change it at {sync}"),
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_reports_what_the_autoscaler_will_do() {
        let said = |to, autoscaled, pending| {
            in_words(&results::Scale {
                service: "tcp".to_owned(),
                scaled: Scaled { from: 1, to, autoscaled },
                next_sync_in_ms: Some(8_300),
                pending,
            })
            .join("\n")
        };
        assert_eq!(said(3, None, 0), "tcp 1 → 3");
        assert_eq!(said(1, None, 0), "tcp already has 1");
        let bounds = Some((2, 5));
        for (to, words) in [
            (9, "back to 5 at its next sync, in 9 s"),
            (1, "up to 2 at its next sync, in 9 s"),
            (0, "to re-enable it: playctl scale tcp 2"),
            (4, "continues from 4 and may change it at its next sync, in 9 s"),
        ] {
            assert!(said(to, bounds, 0).contains(words), "{}", said(to, bounds, 0));
        }
        assert!(said(200, None, 150).contains("150 are pending"));
    }
}
