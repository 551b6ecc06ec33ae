//! The end of a full server.

use std::{io::Read, time::Duration};

use anyhow::{Result, ensure};

use super::Work;
use crate::{
    contestant::{Contestant, Direct, MESSAGE},
    figures::{Figure, Goal, Unit},
    measure,
    traffic::held::Held,
};

const CLIENTS: usize = 10_000;
const NOTICE: &[u8] = b"reconnect";

/// The window of the notices, shorter than the default of 10 s.
const SPREAD: Duration = Duration::from_secs(2);
/// From a client's notice to its end, shorter than the default of 5 s.
const GRACE: Duration = Duration::from_secs(2);
/// In addition to the drain itself.
const MARGIN: Duration = Duration::from_secs(8);

pub(super) fn work() -> Work {
    Work {
        name: "tcp-drain",
        about: format!(
            "SIGTERM to a `tcp` service with {CLIENTS} clients (window of the notices {} s, grace {} s): every client must \
             get `reconnect` and the process end with status 0",
            SPREAD.as_secs(),
            GRACE.as_secs()
        ),
        contestants: vec![Contestant::Playctl],
        once: false,
        figures: vec![
            Figure {
                title: "clients that got their notice",
                unit: Unit::Count,
                goals: vec![Goal::From { value: CLIENTS as f64 }],
            },
            Figure { title: "CPU for each notice", unit: Unit::Seconds, goals: Vec::new() },
            Figure { title: "SIGTERM to the end", unit: Unit::Seconds, goals: Vec::new() },
        ],
        turn: Box::new(|programs, contestant, _| {
            let settings = [
                ("SIGTERM_TIMEOUT", "0".to_owned()),
                ("DRAIN_SPREAD", SPREAD.as_secs().to_string()),
                ("DRAIN_GRACE", GRACE.as_secs().to_string()),
            ];
            let server = Direct::with_environment(contestant, programs, 1, &settings)?;
            let clients = Held::open(server.address(), CLIENTS, MESSAGE)?;
            let process = server.into_process();
            let cpu = measure::cpu_time(process.id())?;
            let begun = clock::now();
            process.ask_to_end()?;
            // All notices are out by now, and the last client's grace is not over yet.
            measure::wait(SPREAD + GRACE / 2);
            let cpu = measure::cpu_time(process.id())?.saturating_sub(cpu);
            let noticed = noticed(&clients)?;
            process.ended(SPREAD + GRACE + MARGIN)?;
            Ok(vec![noticed as f64, cpu.as_secs_f64() / CLIENTS as f64, begun.elapsed().as_secs_f64()])
        }),
    }
}

/// How many clients have received the notice and nothing else.
fn noticed(clients: &Held) -> Result<usize> {
    let mut bytes = [0; 64];
    let mut noticed = 0;
    for mut stream in clients.streams() {
        stream.set_nonblocking(true)?;
        match stream.read(&mut bytes) {
            Ok(length) => {
                let got = &bytes[..length];
                ensure!(got == NOTICE, "a client got {:?}", String::from_utf8_lossy(got));
                noticed += 1;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(noticed)
}
