//! `playctl logs [SERVICE[/REPLICA]]`

mod kept;

use clap::ValueEnum;
use jiff::Timestamp;
use logger::index::{self, Pods, Question};
use platform::{
    Target, TargetError,
    target::{LogLine, LogQuery, LogStream, ServiceSnapshot, Snapshot},
};
use service::settings::{Env, Reader};

use self::kept::Kept;
use super::{Context, Failure, Outcome};
use crate::{args::Output, platform_source, results};

/// What gateways go by.
const GATEWAY: &str = "gateway";

/// Print what replicas and parts wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl logs                             everything, the last 100 lines
  playctl logs tcp --tail 20               one service
  playctl logs -f tcp/tcp-1                one replica, and what it adds
  playctl logs --since 5m --grep draining  the last five minutes, with this text
  playctl logs --from index                what is in Elasticsearch

What replicas print is kept by the supervisor, the last 16 to 32 MiB of it. With a logger their log lines are in
Elasticsearch too; lines from before what the supervisor keeps are taken from there. An Elasticsearch with users is
asked as ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD, or with ELASTICSEARCH_API_KEY.")]
pub(crate) struct Args {
    /// Only this service or replica
    #[arg(value_name = "SERVICE[/REPLICA]")]
    what: Option<String>,
    /// Keep printing new lines as they are written
    #[arg(long, short)]
    follow: bool,
    /// How many of the last lines
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    tail: usize,
    /// Only lines of the last TIME (5m, 1h30m), or since a time (2026-11-21T10:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Only lines with this text in them
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Where lines are taken from
    #[arg(long, value_name = "SOURCE", value_enum, default_value_t = From::Both)]
    from: From,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// What replicas printed, and before that the index
    Both,
    /// What replicas printed
    Output,
    /// What the logger wrote to Elasticsearch
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
    Timestamp::now().checked_sub(ago).map_err(|error| expected(error.to_string()))
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let target = platform_source::target(context)?;
    let snapshot = target.snapshot()?;
    let query = query(args, &snapshot);
    check_replica(&*target, &query, &snapshot)?;
    let mut unreadable = None;
    let mut index_of = |target: &dyn Target| -> Result<Option<index::Reader>, Failure> {
        let index = index_of(target)?;
        unreadable = index.as_ref().map(index::Reader::unreadable);
        Ok(index)
    };
    let lines: LogStream = match args.from {
        From::Output => target.logs(&query)?,
        From::Index => {
            let index = index_of(&*target)?.ok_or_else(|| {
                Failure::failed("there is no index: the platform has no logger; switch it on with: playctl up --set logger.enabled=true")
            })?;
            let last = last(&index, &question(&query), args.tail)?;
            if args.follow {
                // Those that were just printed are not given again.
                let from = last.last().map_or_else(Timestamp::now, |line| line.time);
                let known: Vec<LogLine> = last.iter().filter(|line| line.time == from).cloned().collect();
                let question = Question { since: Some(from), ..question(&query) };
                let new = index.follow(question).map(|line| line.map(line_of).map_err(TargetError::other));
                let new = new.filter(move |line| !line.as_ref().is_ok_and(|line| known.contains(line)));
                Box::new(last.into_iter().map(Ok).chain(new))
            } else {
                Box::new(last.into_iter().map(Ok))
            }
        }
        From::Both => {
            let present = LogQuery { follow: false, ..query.clone() };
            let present = target.logs(&present)?.collect::<Result<Vec<_>, _>>()?;
            let before = match index_of(&*target)? {
                Some(index) => earlier(&*target, &index, &query, args.tail.saturating_sub(present.len()))?,
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
    print(context, lines, unreadable.as_ref())
}

fn print(context: &Context, lines: LogStream, unreadable: Option<&index::Unreadable>) -> Outcome {
    let mut all = Vec::new();
    for line in platform_source::while_wanted(context, lines) {
        let line: LogLine = line?;
        match context.printer.output() {
            Output::Human => context.printer.quote(&format!("{:<12} {}", line.replica, line.text)),
            Output::Jsonl => context.printer.json_line(&line),
            Output::Json => all.push(results::Logged::Line(line)),
        }
        if context.printer.closed() {
            break;
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
    context.ended()
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

/// The service and the replica that are meant; a replica's name alone does too, and `gateway/node-0`.
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

/// Fails for a replica that is not there and that nobody has lines of. Those that are gone may have left some.
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
    if let Some(index) = index_of(target)?
        && !last(&index, &question(&any), 1).unwrap_or_default().is_empty()
    {
        return Ok(());
    }
    let (service, replica) = (service.clone(), replica.clone());
    Err(TargetError::UnknownReplica { service, replica, known }.into())
}

/// The same, asked of the index.
fn question(query: &LogQuery) -> Question {
    let pods = match (&query.replica, &query.service) {
        (Some(replica), _) => Pods::Pod(replica.clone()),
        (None, Some(service)) => Pods::Service(service.clone()),
        (None, None) => Pods::All,
    };
    Question { pods, since: query.since, before: None, text: query.text.clone() }
}

/// The platform's Elasticsearch, embedded or not; `None` if it has none.
fn index_of(target: &dyn Target) -> Result<Option<index::Reader>, Failure> {
    let parts = target.snapshot()?.parts;
    let address = parts.into_iter().find(|part| part.name == "elasticsearch").and_then(|part| part.address);
    let Some(address) = address else { return Ok(None) };
    let env = Env::of_process().with("ELASTICSEARCH_ENDPOINT", address).with("ELASTICSEARCH_URL", "");
    let mut reader = Reader::new(&env);
    let settings = logger::Elasticsearch::read(&mut reader);
    let settings = reader.finish(settings).map_err(Failure::usage)?;
    index::Reader::new(&settings).map(Some).map_err(Failure::failed)
}

/// The last `count` lines from before the first one that the supervisor keeps. Those that it keeps are in the index
/// as well.
fn earlier(
    target: &dyn Target,
    index: &index::Reader,
    query: &LogQuery,
    count: usize,
) -> Result<Vec<LogLine>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let kept = Kept::of(target.logs(&LogQuery::default())?)?;
    let all_kept = kept.from.zip(query.since).is_some_and(|(from, since)| from <= since);
    if all_kept {
        return Ok(Vec::new());
    }
    let question = Question { before: kept.from, ..question(query) };
    let mut lines = last(index, &question, count.saturating_add(kept.lines_at_the_beginning))?;
    lines.retain(|line| !kept.has(line));
    Ok(lines.split_off(lines.len().saturating_sub(count)))
}

fn last(index: &index::Reader, question: &Question, count: usize) -> Result<Vec<LogLine>, Failure> {
    let lines = index.last(question, count).map_err(Failure::failed)?;
    Ok(lines.into_iter().map(line_of).collect())
}

fn line_of(line: index::Line) -> LogLine {
    LogLine { time: line.timestamp, replica: line.pod, text: line.text }
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
        let earliest = ago(Timestamp::now());
        let found = since("1h30m").unwrap();
        assert!((earliest..=ago(Timestamp::now())).contains(&found), "{found}");
        for bad in ["", "5", "yesterday", "-5m"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
