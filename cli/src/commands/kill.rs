//! `playctl kill SERVICE[/REPLICA]`

use platform::{
    exit,
    target::{Killed, Subject},
};

use crate::{context::Context, failure::Outcome, platform_source};

/// Kill a replica without warning (SIGKILL)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl kill tcp                 the replica with the lowest ordinal
  playctl kill tcp/tcp-1           this one; it restarts after a back-off
  playctl kill tcp/fullest         the one with the most connections
  playctl kill gateway/node-0      a gateway
  playctl kill tcp/tcp-1 --no-restart")]
pub(crate) struct Args {
    /// The service, replica or part
    #[arg(value_name = "SERVICE[/REPLICA]|PART")]
    what: Subject,
    /// Do not restart it
    #[arg(long)]
    no_restart: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::target(context)?;
    let killed = target.kill(&args.what, !args.no_restart)?;
    context.printer.line(&in_words(&args.what.name, &killed));
    context.printer.document(&killed);
    Ok(exit::DONE)
}

pub(crate) fn in_words(service: &str, killed: &Killed) -> String {
    let Killed { replica, pid, draining, replaced, restart_in } = killed;
    let pid = pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    if *draining {
        return format!("{replica} was draining; killed{pid}; it will not restart");
    }
    let next = match restart_in {
        Some(after) if after.is_zero() => "it restarts now".to_owned(),
        Some(after) => format!("it restarts in {} s", after.as_secs()),
        None if *replaced => "another replica takes its place".to_owned(),
        None => format!("it stays dead until: playctl start {service}/{replica}, or playctl up"),
    };
    format!("killed {replica}{pid}; {next}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn kill_reports_what_happens_to_the_replica() {
        let killed = |draining, restart_in| {
            let replica = "tcp-1".to_owned();
            in_words("tcp", &Killed { replica, pid: Some(7), draining, replaced: false, restart_in })
        };
        let now = Some(Duration::ZERO);
        assert_eq!(killed(false, now), "killed tcp-1 (pid 7); it restarts now");
        let later = Some(Duration::from_secs(10));
        assert_eq!(killed(false, later), "killed tcp-1 (pid 7); it restarts in 10 s");
        assert!(killed(false, None).contains("stays dead until: playctl start tcp/tcp-1"));
        let replica = "tcp-5c9f".to_owned();
        let killed_pod = Killed { replica, pid: None, draining: false, replaced: true, restart_in: None };
        assert_eq!(in_words("tcp", &killed_pod), "killed tcp-5c9f; another replica takes its place");
        assert_eq!(killed(true, None), "tcp-1 was draining; killed (pid 7); it will not restart");
    }
}
