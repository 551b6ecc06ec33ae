//! Workers that are processes of their own.

use std::path::PathBuf;

use load::{Control, LoadError, Options, Request, WorkerCommand};

use crate::server::{Server, request, run_with};

/// The example that is a worker process, built by the same `cargo test`.
pub(crate) fn worker_program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples/load-worker");
    assert!(program.exists(), "{} is built by: cargo test -p load --examples", program.display());
    program
}

#[test]
fn processes_share_the_work_and_their_figures_are_merged() {
    let server = Server::echo();
    let plan = Request { workers: Some(3), ..request(server.address(), 40) }.resolve(None).unwrap();
    let worker = Some(WorkerCommand { program: worker_program(), args: Vec::new() });
    let (summary, events) = run_with(&plan, &Options { worker, ..Options::default() });
    let totals = summary.totals;
    assert_eq!((totals.connected_first, totals.closed, server.accepted()), (40, 40, 40));
    assert_eq!((totals.messages_wrong, totals.messages_unanswered, totals.lost), (0, 0, 0));
    assert!(totals.messages_answered >= 80);
    assert_eq!(summary.open_max, 40);
    assert!(!events.is_empty());
}

#[test]
fn threads_share_the_work_where_there_is_no_worker_program() {
    let server = Server::echo();
    let plan = Request { workers: Some(2), ..request(server.address(), 11) }.resolve(None).unwrap();
    let (summary, _) = run_with(&plan, &Options::default());
    assert_eq!((summary.totals.connected_first, server.accepted()), (11, 11));
}

#[test]
fn a_worker_that_fails_ends_the_run_with_its_name() {
    let server = Server::echo();
    let plan = Request { workers: Some(2), ..request(server.address(), 4) }.resolve(None).unwrap();
    for (program, expected) in
        [("/bin/true", "the process ended early"), ("/nonexistent", "cannot be started")]
    {
        let worker = Some(WorkerCommand { program: program.into(), args: Vec::new() });
        let options = Options { worker, ..Options::default() };
        let error = load::run(&plan, &options, &Control::new(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_worker_says_what_is_wrong_with_its_specification() {
    for input in ["", "rubbish\n", "{}\n"] {
        let error = load::serve_worker(input.as_bytes(), Vec::new()).unwrap_err();
        assert!(matches!(&error, LoadError::Protocol(_)), "{error}");
    }
}
