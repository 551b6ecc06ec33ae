use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, PipeWriter, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
};

use parking_lot::Mutex;
use platform::event::{EventKind, LoadSummary};
use scenario::{Every, Hold, Scenario};

use super::*;
use crate::{Control, Options, run};

/// Answers every line with the part after its first colon, as our protocol answers `msg:`.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// Workers on threads, whose logs lose messages, or which end, as a test requires.
struct Pods {
    stops: Vec<Stop>,
    inputs: Vec<Mutex<PipeWriter>>,
    heard: Mutex<mpsc::Receiver<(u32, Heard)>>,
    lost: BTreeSet<u64>,
    ends: Option<(u32, u64)>,
}

impl Pods {
    fn new(count: u32, lost: &[u64], ends: Option<(u32, u64)>) -> Arc<Self> {
        let (told, heard) = mpsc::channel();
        let (mut inputs, mut stops) = (Vec::new(), Vec::new());
        for worker in 0..count {
            let (input, ours) = std::io::pipe().unwrap();
            let (log, output) = std::io::pipe().unwrap();
            inputs.push(Mutex::new(ours));
            let stop = Stop::new().unwrap();
            stops.push(stop.clone());
            thread::spawn(move || serve_away(BufReader::new(input), output, &stop));
            let told = told.clone();
            thread::spawn(move || {
                for line in BufReader::new(log).lines().map_while(Result::ok) {
                    // A log that is followed again repeats its contents.
                    for _ in 0..2 {
                        let _ = told.send((worker, Heard::Line(line.clone())));
                    }
                }
                let _ = told.send((worker, Heard::Ended("it is over".to_owned())));
            });
        }
        Arc::new(Self { stops, inputs, heard: Mutex::new(heard), lost: lost.iter().copied().collect(), ends })
    }
}

impl Workers for Pods {
    fn count(&self) -> u32 {
        self.inputs.len() as u32
    }

    fn name(&self, worker: u32) -> String {
        format!("pod {worker}")
    }

    fn tell(&self, worker: u32, line: String) {
        let _ = self.inputs[worker as usize].lock().write_all(line.as_bytes());
    }

    fn hear(&self, patience: Duration) -> Option<(u32, Heard)> {
        let (worker, heard) = self.heard.lock().recv_timeout(patience).ok()?;
        let Heard::Line(line) = &heard else { return Some((worker, heard)) };
        let number: u64 = line.split(' ').nth(1).unwrap().parse().unwrap();
        if self.ends == Some((worker, number)) {
            return Some((worker, Heard::Ended("killed".to_owned())));
        }
        (!self.lost.contains(&number)).then_some((worker, heard))
    }
}

fn load(
    pods: &Arc<Pods>,
    targets: Vec<String>,
    control: &Control,
) -> (Result<LoadSummary, LoadError>, Vec<EventKind>) {
    let mut scenario = Scenario::default();
    scenario.phases.ramp.connections = 20;
    scenario.phases.ramp.rate = "1ms".parse().unwrap();
    scenario.phases.hold = Hold { from_first_connect: None, after_ramp: Some(Duration::from_millis(1_300)) };
    scenario.messages.every = Some(Every::Interval(Duration::from_millis(20)));
    let workers: Arc<dyn Workers> = pods.clone();
    let options = Options { away: Some(Away { workers, targets }), ..Options::default() };
    let mut events = Vec::new();
    let result = run(&scenario, &options, control, &mut |event| events.push(event));
    (result, events)
}

fn warnings(events: &[EventKind]) -> String {
    let words = events.iter().filter_map(|event| match event {
        EventKind::Warning { message } => Some(message.as_str()),
        _ => None,
    });
    words.collect::<Vec<_>>().join("\n")
}

fn whole(summary: &LoadSummary) {
    assert_eq!((summary.totals.attempted, summary.totals.connected, summary.totals.lost), (20, 20, 0));
    assert!(summary.totals.messages_answered > 20 * 10, "{:?}", summary.totals);
    assert_eq!(summary.message.count, summary.totals.messages_answered);
    let buckets = summary.message_histogram.iter().map(|bucket| bucket.count).sum::<u64>();
    assert_eq!(buckets, summary.totals.messages_answered);
    assert_eq!(summary.connect.count, 20);
}

#[test]
fn remote_workers_share_one_load() {
    let pods = Pods::new(3, &[], None);
    let (result, events) = load(&pods, vec![format!("localhost:{}", server().port())], &Control::new());
    whole(&result.unwrap());
    assert_eq!(warnings(&events), "");
    assert!(events.iter().any(|event| matches!(event, EventKind::RampDone { open: 20, .. })));
    assert!(events.iter().any(|event| matches!(event, EventKind::LoadTick(tick) if tick.open == 20)));
}

#[test]
fn reports_lost_in_a_log_leave_no_gap_in_the_result() {
    // The end of the ramp and a report, of all workers; the load must end all the same.
    let pods = Pods::new(2, &[2, 3], None);
    let (result, events) = load(&pods, vec![server().to_string()], &Control::new());
    whole(&result.unwrap());
    assert!(
        warnings(&events).contains("2 reports of a load worker were lost in its log"),
        "{}",
        warnings(&events)
    );
    assert!(events.iter().any(|event| matches!(event, EventKind::RampDone { .. })));
}

#[test]
fn a_worker_that_ends_is_named_and_the_others_results_are_kept() {
    let pods = Pods::new(2, &[], Some((1, 4)));
    let (result, events) = load(&pods, vec![server().to_string()], &Control::new());
    let summary = result.unwrap();
    let why = summary.ended_early.unwrap();
    assert!(why.starts_with("load worker 2 of 2 is gone with 10 open connections: pod 1: killed"), "{why}");
    assert!(warnings(&events).contains(&why));
    assert_eq!(summary.totals.connected, 20);
    assert!(summary.message.count > 0 && !summary.interrupted);
}

#[test]
fn a_worker_ended_by_its_platform_reports_its_result_and_counts_as_gone() {
    let pods = Pods::new(2, &[], None);
    let mut scenario = Scenario::default();
    scenario.phases.ramp.connections = 10;
    scenario.messages.every = Some(Every::Interval(Duration::from_millis(20)));
    let workers: Arc<dyn Workers> = pods.clone();
    let away = Away { workers, targets: vec![server().to_string()] };
    let options = Options { away: Some(away), ..Options::default() };
    let summary = run(&scenario, &options, &Control::new(), &mut |event| {
        if matches!(event, EventKind::RampDone { .. }) {
            pods.stops[1].stop();
        }
    });
    let summary = summary.unwrap();
    let why = summary.ended_early.clone().unwrap();
    assert!(why.starts_with("load worker 2 of 2 is gone: pod 1: it was told to end"), "{why}");
    assert_eq!((summary.totals.connected, summary.totals.closed), (10, 10));
    assert_eq!(summary.message.count, summary.totals.messages_answered);
}

#[test]
fn reasons_why_a_worker_cannot_start_are_reported() {
    let pods = Pods::new(2, &[], None);
    let (result, events) = load(&pods, vec!["nobody.invalid:1".to_owned()], &Control::new());
    let error = result.unwrap_err().to_string();
    assert!(error.contains("pod ") && error.contains("nobody.invalid:1"), "{error}");
    // The scenario's times count from the start, so there is none before all workers are ready.
    assert!(!events.iter().any(|event| matches!(event, EventKind::LoadStarted { .. })), "{events:?}");

    let pods = Pods::new(1, &[], Some((0, 0)));
    let error = load(&pods, vec![server().to_string()], &Control::new()).0.unwrap_err().to_string();
    assert!(error.contains("pod 0: killed"), "{error}");
}

#[test]
fn a_remote_load_is_stopped_like_any_other() {
    let pods = Pods::new(2, &[], None);
    let control = Control::new();
    let (stop, address) = (control.clone(), server());
    let workers: Arc<dyn Workers> = pods.clone();
    let options =
        Options { away: Some(Away { workers, targets: vec![address.to_string()] }), ..Options::default() };
    let mut scenario = Scenario::default();
    scenario.phases.ramp.connections = 10;
    let summary = run(&scenario, &options, &control, &mut |event| {
        if matches!(event, EventKind::RampDone { .. } | EventKind::LoadTick(_)) {
            stop.stop();
        }
    });
    let summary = summary.unwrap();
    assert!(summary.interrupted && summary.totals.connected > 0);

    let stopped = Control::new();
    stopped.stop();
    let error = load(&Pods::new(1, &[], None), vec![address.to_string()], &stopped).0.unwrap_err();
    assert_eq!(error.exit_code(), platform::exit::INTERRUPTED);
}
