//! How fast random histories of a platform are played to test the controller.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::Work;
use crate::{
    contestant::Contestant,
    figures::{Figure, Goal, Unit},
};

pub(super) fn work() -> Work {
    Work {
        name: "histories",
        about: "random histories of the controller, each of 200 inputs or more (crashes, slow starts, drains, `scale`, \
                `apply`, late and repeated messages) with all that must hold checked after every step, on one core"
            .to_owned(),
        contestants: vec![Contestant::Playctl],
        once: false,
        figures: vec![Figure {
            title: "histories",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::From { value: 2_000.0 }],
        }],
        turn: Box::new(|programs, _, length| {
            let output = Command::new(programs.histories()?)
                .args(["--seeds", &u64::MAX.to_string(), "--seconds", &length.as_secs().to_string()])
                .stderr(Stdio::inherit())
                .output()?;
            ensure!(output.status.success(), "a history broke a rule ({})", output.status);
            let said = String::from_utf8_lossy(&output.stdout);
            Ok(vec![rate(&said).with_context(|| format!("no histories/s in {said:?}"))?])
        }),
    }
}

/// The number before its unit.
fn rate(said: &str) -> Option<f64> {
    said.split(" histories/s").next().filter(|before| *before != said)?.split(' ').next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn the_rate_is_read_from_the_players_output() {
        let said =
            "21000 histories with 4700000 inputs in 10.0 s (9.9 s of CPU): 2121 histories/s of one core\n";
        assert_eq!(rate(said), Some(2121.0));
        assert_eq!(rate("0 histories in 0 s\n"), None);
    }
}
