//! `playctl logs [SERVICE[/REPLICA]]`

#[cfg(feature = "local")]
mod index;
#[cfg(not(feature = "local"))]
#[path = "logs/no_index.rs"]
mod index;
#[cfg(feature = "local")]
mod kept;

use clap::ValueEnum;
use jiff::Timestamp;
use platform::{
    Target, TargetError, exit,
    target::{LogLine, LogQuery, LogStream, ServiceSnapshot, Snapshot},
};

use self::index::Index;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    options::{Output, TargetKind},
    platform_source, results,
};

/// The name of gateways.
const GATEWAY: &str = "gateway";

/// Print the logs of replicas and parts
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl logs                             everything, the last 100 lines
  playctl logs tcp --tail 20               one service
  playctl logs -f tcp/tcp-1                one replica, followed
  playctl logs --since 5m --grep draining  the last five minutes, filtered
  playctl logs --from index                the lines in Elasticsearch

The supervisor keeps the last 16 to 32 MiB of the replicas' output. With a
logger, Elasticsearch has their logs too, and older lines come from there. If
Elasticsearch needs credentials, set ELASTICSEARCH_USERNAME and
ELASTICSEARCH_PASSWORD, or ELASTICSEARCH_API_KEY.")]
pub(crate) struct Args {
    /// Only this service or replica
    #[arg(value_name = "SERVICE[/REPLICA]")]
    what: Option<String>,
    /// Keep printing new lines as they are written
    #[arg(long, short)]
    follow: bool,
    /// Number of most recent lines to print
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: usize,
    /// Only lines from the last TIME (5m, 1h30m), or since a time (2026-11-21T10:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Where to read lines from
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t = From::Both)]
    from: From,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// The replicas' output and, for older lines, the index
    Both,
    /// The replicas' output
    Output,
    /// The logger's index in Elasticsearch
    Index,
}

/// A duration before now, or a time.
fn since(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let expected =
        |_| "expected a duration with units (5m, 1h30m) or a time (2026-11-21T10:00:00Z)".to_owned();
    let ago = platform::duration::parse(text).map_err(|error| expected(error.to_string()))?;
    clock::wall().checked_sub(ago).map_err(|error| expected(error.to_string()))
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    // As in `tail -n 5` and `journalctl -n 5`.
    if let (TargetKind::Local, Some(number)) = (context.global.target, &context.global.cluster.namespace)
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(Failure::usage(format!(
            "-n is --namespace, which needs --target cluster; for the last {number} lines: --tail {number}"
        )));
    }
    let target = platform_source::target(context)?;
    let snapshot = target.snapshot()?;
    let query = query(args, &snapshot);
    check_replica(&*target, &query, &snapshot)?;
    let mut unreadable = None;
    let mut index_of_target = || -> Result<Option<Index>, Failure> {
        let index = Index::of(&*target)?;
        unreadable = index.as_ref().map(Index::unreadable);
        Ok(index)
    };
    let lines: LogStream = match args.from {
        From::Output => target.logs(&query)?,
        From::Index => {
            let index = index_of_target()?.ok_or_else(|| Failure::failed(index::MISSING))?;
            let last = index.last(&query, args.tail)?;
            if args.follow { index.follow(&query, last) } else { Box::new(last.into_iter().map(Ok)) }
        }
        From::Both => {
            let present = LogQuery { follow: false, ..query.clone() };
            let present = target.logs(&present)?.collect::<Result<Vec<_>, _>>()?;
            let before = match index_of_target()? {
                Some(index) => index.earlier(&*target, &query, args.tail.saturating_sub(present.len()))?,
                None => Vec::new(),
            };
            let before = before.into_iter().map(Ok);
            if args.follow {
                Box::new(before.chain(target.logs(&query)?))
            } else {
                Box::new(before.chain(present.into_iter().map(Ok)))
            }
        }
    };
    print(context, lines, args.follow, unreadable.as_ref())
}

fn print(
    context: &Context,
    lines: LogStream,
    follows: bool,
    unreadable: Option<&index::Unreadable>,
) -> Outcome {
    let mut all = Vec::new();
    let mut is_cut = follows;
    for line in platform_source::while_wanted(context, lines) {
        let line: LogLine = line?;
        if context.printer.closed() {
            is_cut = true;
            break;
        }
        match context.printer.output() {
            Output::Human => context.printer.quote(&format!("{:<12} {}", line.replica, line.text)),
            Output::Jsonl => context.printer.json_line(&line),
            Output::Json => all.push(results::Logged::Line(line)),
        }
    }
    if let Some(unreadable) = unreadable.map(index::Unreadable::count).filter(|count| *count > 0) {
        let records = if unreadable == 1 { "record" } else { "records" };
        context.printer.note(&format!("{unreadable} {records} of the index could not be read"));
        let left_out = results::Logged::Unreadable { unreadable };
        context.printer.json_line(&left_out);
        all.push(left_out);
    }
    if context.printer.output() == Output::Json {
        context.printer.document(&all);
    }
    // A reader that got every line may go.
    if is_cut || context.interrupt.is_set() { context.ended() } else { Ok(exit::DONE) }
}

fn query(args: &Args, snapshot: &Snapshot) -> LogQuery {
    let (service, replica) = args.what.as_deref().map_or((None, None), |what| named(what, snapshot));
    LogQuery {
        service,
        replica,
        since: args.since,
        text: args.grep.clone(),
        tail: Some(args.tail),
        follow: args.follow,
    }
}

/// The intended service and replica; a replica's name alone works too, and `gateway/node-0`.
fn named(what: &str, snapshot: &Snapshot) -> (Option<String>, Option<String>) {
    let gateway = || Some(GATEWAY.to_owned());
    match what.split_once('/') {
        Some((GATEWAY, node)) if !node.starts_with(GATEWAY) => (gateway(), Some(format!("{GATEWAY}-{node}"))),
        Some((service, replica)) => (Some(service.to_owned()), Some(replica.to_owned())),
        None if what.starts_with(GATEWAY) && what != GATEWAY => (gateway(), Some(what.to_owned())),
        None => {
            let has = |service: &&ServiceSnapshot| service.replicas.iter().any(|one| one.name == what);
            match snapshot.services.iter().find(has) {
                Some(service) => (Some(service.name.clone()), Some(what.to_owned())),
                None => (Some(what.to_owned()), None),
            }
        }
    }
}

/// Fails for an unknown replica without any lines. Past replicas may have left some.
fn check_replica(target: &dyn Target, query: &LogQuery, snapshot: &Snapshot) -> Result<(), Failure> {
    let (Some(service), Some(replica)) = (&query.service, &query.replica) else { return Ok(()) };
    let replicas = snapshot.services.iter().filter(|one| one.name == *service).flat_map(|one| &one.replicas);
    let parts = snapshot.parts.iter().filter(|part| part.name.starts_with(service.as_str()));
    let known: Vec<String> =
        replicas.map(|one| one.name.clone()).chain(parts.map(|part| part.name.clone())).collect();
    if known.contains(replica) {
        return Ok(());
    }
    let any = LogQuery {
        replica: Some(replica.clone()),
        service: query.service.clone(),
        tail: Some(1),
        ..LogQuery::default()
    };
    if target.logs(&any)?.next().transpose()?.is_some() {
        return Ok(());
    }
    if let Some(index) = Index::of(target)?
        && !index.last(&any, 1).unwrap_or_default().is_empty()
    {
        return Ok(());
    }
    let (service, replica) = (service.clone(), replica.clone());
    Err(TargetError::UnknownReplica { service, replica, known }.into())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn since_is_a_time_or_a_time_ago() {
        let time = "2026-11-21T10:00:00Z";
        assert_eq!(since(time), Ok(time.parse().unwrap()));
        let ago = |now: Timestamp| now - SignedDuration::from_mins(90);
        let earliest = ago(clock::wall());
        let found = since("1h30m").unwrap();
        assert!((earliest..=ago(clock::wall())).contains(&found), "{found}");
        for bad in ["", "5", "yesterday", "-5m"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
