//! Workers in separate processes.

use std::path::PathBuf;

use load::{Control, LoadError, Options, WorkerCommand};

use crate::server::{Server, request, run};

/// The example program that is a worker process; the same `cargo test` builds it.
pub(crate) fn worker_program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples/load-worker");
    assert!(program.exists(), "{} is built by: cargo test -p load --examples", program.display());
    program
}

/// Starts this program as a worker process.
pub(crate) fn process(program: PathBuf) -> WorkerCommand {
    WorkerCommand { program, args: Vec::new() }
}

#[test]
fn processes_share_the_work_and_their_figures_are_merged() {
    let server = Server::echo();
    let (summary, events) = run(request(server.address(), 40)
        .options(|options| {
            options.workers = Some(3);
            options.worker = Some(process(worker_program()));
        })
        .until(|totals| totals.messages_answered >= 80));
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
    let (summary, _) = run(request(server.address(), 11).options(|options| options.workers = Some(2)));
    assert_eq!((summary.totals.connected_first, server.accepted()), (11, 11));
}

#[test]
fn a_worker_that_fails_ends_the_run_with_its_name() {
    let server = Server::echo();
    for (program, expected) in
        [("/bin/true", "the process ended early"), ("/nonexistent", "cannot start a load worker")]
    {
        let load = request(server.address(), 4).options(|options| {
            options.workers = Some(2);
            options.worker = Some(process(program.into()));
        });
        let error = load::run(&load.scenario, &load.options, &Control::new(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn impossible_options_are_named() {
    let server = Server::echo();
    let load = request(server.address(), 1);
    for (options, expected) in [
        (Options::default(), "there is no target"),
        (Options { workers: Some(0), ..load.options.clone() }, "workers 0"),
    ] {
        let error = load::run(&load.scenario, &options, &Control::new(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit_code(), platform::exit::USAGE);
    }
}

#[test]
fn a_worker_says_what_is_wrong_with_its_specification() {
    for input in ["", "rubbish\n", "{}\n"] {
        let error = load::serve_worker(input.as_bytes(), Vec::new()).unwrap_err();
        assert!(matches!(&error, LoadError::Protocol(_)), "{error}");
    }
}
