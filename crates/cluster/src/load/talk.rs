//! Communication with one worker: its log, and its standard input.

use std::time::Duration;

use futures_util::{AsyncBufReadExt as _, FutureExt as _, StreamExt as _, future::BoxFuture};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess, LogParams},
};
use tokio::{
    io::{AsyncWriteExt as _, SimplexStream, WriteHalf},
    sync::mpsc,
};

use super::Heard;
use crate::{
    connect::Cluster,
    facts::{Facts as _, Object, PodFacts},
    timeouts::ANSWER,
};

/// The pause between two attempts to follow a log, or to attach.
const AGAIN: Duration = Duration::from_millis(500);
/// How many requests for a pod's state may fail before the pod counts as lost.
const ASKS: u32 = 20;
/// How often a line is rewritten to an input that breaks.
const WRITES: u32 = 5;
/// A log is followed again from shortly before its last line: the API accepts whole seconds only.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);

/// Sends the lines of a pod's log, and finally why the pod has ended. Lines may come twice.
pub(super) async fn listen(cluster: Cluster, pod: String, worker: u32, heard: mpsc::Sender<(u32, Heard)>) {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut last: Option<Timestamp> = None;
    let mut unanswered = 0;
    loop {
        let since_time = last.and_then(|last| last.checked_sub(OVERLAP).ok());
        let params = LogParams { follow: true, timestamps: true, since_time, ..LogParams::default() };
        if let Ok(lines) = api.log_stream(&pod, &params).await {
            let mut lines = lines.lines();
            while let Some(Ok(line)) = lines.next().await {
                unanswered = 0;
                let (time, text) = line.split_once(' ').unwrap_or(("", line.as_str()));
                last = time.parse().ok().or(last);
                if heard.send((worker, Heard::Line(text.to_owned()))).await.is_err() {
                    return;
                }
            }
        }
        // The log has ended, or the connection has.
        let ended = match cluster.try_ask(api.get(&pod)).await {
            Ok(pod) => match pod.facts() {
                Object::Pod(facts) => how_it_ended(&facts),
                _ => None,
            },
            Err(call) if call.status() == Some(404) => Some("the pod was deleted".to_owned()),
            Err(call) => {
                unanswered += 1;
                (unanswered >= ASKS)
                    .then(|| format!("the API server does not say what became of it: {}", call.words()))
            }
        };
        if let Some(why) = ended {
            // The log of a pod that has ended is complete only when it is read again after the end.
            rest(&api, &pod, last, worker, &heard).await;
            let _ = heard.send((worker, Heard::Ended(why))).await;
            return;
        }
        tokio::select! {
            () = heard.closed() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn rest(
    api: &Api<Pod>,
    pod: &str,
    last: Option<Timestamp>,
    worker: u32,
    heard: &mpsc::Sender<(u32, Heard)>,
) {
    let since_time = last.and_then(|last| last.checked_sub(OVERLAP).ok());
    let Ok(text) = api.logs(pod, &LogParams { since_time, ..LogParams::default() }).await else { return };
    for line in text.lines() {
        if heard.send((worker, Heard::Line(line.to_owned()))).await.is_err() {
            return;
        }
    }
}

/// Why the pod has ended; `None`: it is running.
pub(super) fn how_it_ended(pod: &PodFacts) -> Option<String> {
    let ended = pod.containers.iter().find(|container| container.running.is_none());
    let ended = ended.and_then(|container| container.ended.as_ref());
    match (ended, pod.is_over()) {
        (Some(ended), _) if ended.exit_code == 0 => {
            Some("it ended in order, and its result is not in its log".to_owned())
        }
        (Some(ended), _) if pod.phase_reason.is_empty() => Some(ended.words.clone()),
        (Some(ended), _) => Some(format!("{}: {}", pod.phase_reason, ended.words)),
        (None, true) if pod.phase_reason.is_empty() => Some(format!("its pod is {}", pod.phase)),
        (None, true) => Some(pod.phase_reason.clone()),
        (None, false) => None,
    }
}

/// Writes lines to a pod's standard input. If it breaks, it is attached again.
pub(super) async fn tell(cluster: Cluster, pod: String, mut lines: mpsc::Receiver<String>) {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut input: Option<Input> = None;
    let mut is_first = true;
    while let Some(line) = lines.recv().await {
        for _ in 0..WRITES {
            if input.as_mut().is_none_or(Input::has_ended) {
                input = Input::attach(&api, &pod).await;
                if let (Some(open), false) = (&mut input, is_first) {
                    // Terminates a line that may have been cut off. A failure shows in the next write.
                    open.write("\n").await;
                }
            }
            if let Some(open) = &mut input {
                is_first = false;
                if open.write(&line).await {
                    break;
                }
                input = None;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// A container's standard input while attached.
struct Input {
    writer: WriteHalf<SimplexStream>,
    /// The pipe does not show whether anyone still reads at the other end; this does.
    ended: BoxFuture<'static, Option<Status>>,
    _process: AttachedProcess,
}

impl Input {
    async fn attach(api: &Api<Pod>, pod: &str) -> Option<Self> {
        let params = AttachParams::default().stdin(true).stdout(false).stderr(false);
        let attached = tokio::time::timeout(ANSWER, api.attach(pod, &params)).await;
        let mut process = attached.ok()?.ok()?;
        Some(Self { writer: process.stdin()?, ended: process.take_status()?.boxed(), _process: process })
    }

    /// Ask this before each write, and never again once it was true.
    fn has_ended(&mut self) -> bool {
        (&mut self.ended).now_or_never().is_some()
    }

    /// Returns whether the text was accepted.
    async fn write(&mut self, text: &str) -> bool {
        tokio::select! {
            written = self.writer.write_all(text.as_bytes()) => written.is_ok(),
            _ = &mut self.ended => false,
            () = tokio::time::sleep(ANSWER) => false,
        }
    }
}
