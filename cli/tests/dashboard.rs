//! The page of a platform on this machine: its address, what serves it and when, its actions, and the loads that it
//! shows.

#[path = "support/services.rs"]
mod services;
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use serde_json::{Value, json};
use services::ask;
use support::{Lab, eventually, lossy};

const SOON: Duration = Duration::from_mins(1);

struct Page {
    at: SocketAddr,
    token: String,
}

impl Page {
    fn of(link: &str) -> Self {
        let (url, token) = link.trim().split_once('#').expect("a token");
        let at = url.trim_start_matches("http://").trim_end_matches('/');
        Self { at: at.parse().expect("an address"), token: token.to_owned() }
    }

    fn story(&self) -> Value {
        let (status, body) = ask(self.at, "GET", "/run.json", "").expect("an answer");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The status and the text of an answer.
    fn act(&self, token: &str, action: &Value) -> (String, String) {
        let (at, body) = (self.at, action.to_string());
        let mut stream = TcpStream::connect(at).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a deadline");
        write!(
            stream,
            "POST /act HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nConnection: close\r\nX-Playctl-Token: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("it reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let answer = lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let said: Value = serde_json::from_str(body).expect("JSON");
        let status = head.split(' ').nth(1).expect("a status").to_owned();
        (status, said["words"].as_str().expect("words").to_owned())
    }
}

#[test]
fn a_page_lives_with_its_platform_needs_the_token_to_act_and_shows_loads() {
    let lab = Lab::new("page");
    let told = lab.json(&["up", "--set", "kafka.enabled=false,memcached.enabled=false"]);
    let link = told["page"].as_str().expect("an address").to_owned();
    assert_eq!(lab.json(&["dashboard", "--no-open"])["url"].as_str(), Some(&*link));
    let without = lab.processes().len();
    let page = Page::of(&link);

    // The first visitor makes the supervisor serve it.
    eventually(SOON, || {
        let story = page.story();
        if story["runs"][0]["replicas"][0]["name"] == "tcp-0" { Ok(()) } else { Err(story.to_string()) }
    })
    .expect("the replica is on the page");
    assert_eq!(lab.processes().len(), without + 1);

    let scale = json!({ "do": "scale", "service": "tcp", "replicas": 2 });
    let (status, said) = page.act("0123456789abcdef0123456789abcdef", &scale);
    assert!(status == "403" && said.contains("another platform"), "{status} {said}");
    assert_eq!(lab.status()["services"][0]["desired"], 1);
    let (status, said) = page.act(&page.token, &scale);
    assert!(status == "200" && said.starts_with("tcp 1 → 2"), "{status} {said}");
    let (status, said) =
        page.act(&page.token, &json!({ "do": "kill", "service": "tcp", "replica": "tcp-9" }));
    assert!(status == "409" && said.contains("tcp has no replica tcp-9"), "{status} {said}");
    // Selectors that commands accept instead of names are refused.
    for what in ["kill", "drain"] {
        for replica in ["fullest", "emptiest", "", "tcp-0/"] {
            let (status, said) =
                page.act(&page.token, &json!({ "do": what, "service": "tcp", "replica": replica }));
            assert!(
                status == "409" && said.contains("tcp has no replica"),
                "{what} {replica}: {status} {said}"
            );
        }
    }
    let file = json!({ "do": "start_load", "scenario": "/etc/passwd", "connections": null, "hold_s": null });
    let (status, said) = page.act(&page.token, &file);
    assert!(status == "409" && said.contains("there is no scenario"), "{status} {said}");

    // A load from a terminal.
    let load = lab.spawn(&["load", "--conns", "20", "--rate", "100/s", "--hold", "5m", "--quiet"]);
    let heard = || {
        let run = page.story()["runs"][0].clone();
        let measured =
            ["connect", "first_byte", "message"].map(|what| run[what].as_array().map_or(0, Vec::len));
        if measured.iter().all(|rows| *rows > 0) && run["open"].to_string().contains(",20.0]") {
            Ok(())
        } else {
            Err(format!("{measured:?} {}", run["open"]))
        }
    };
    eventually(SOON, heard).expect("its latencies and connections are shown");
    load.signal(rustix::process::Signal::INT);
    assert_eq!(load.code(SOON), Some(130));

    // A separately served page outlives the platform, and names the command that helps.
    let mut apart = lab.command(&["dashboard", "--port", "0"]);
    let mut apart = apart.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut printed = String::new();
    // It ends when its output is closed.
    let mut stdout = BufReader::new(apart.stdout.take().expect("piped"));
    stdout.read_line(&mut printed).expect("it prints");
    let apart_page = Page::of(&printed);
    let mut news = TcpStream::connect(apart_page.at).expect("it listens");
    write!(news, "GET /news HTTP/1.1\r\nHost: {}\r\n\r\n", apart_page.at).expect("it reads");

    // A load started from the page ends with the platform, and so does the page's server.
    let start = json!({ "do": "start_load", "scenario": "tcp-10k", "connections": 20, "hold_s": 600 });
    let (status, said) = page.act(&page.token, &start);
    assert!(status == "200" && said.contains("tcp-10k runs"), "{status} {said}");
    let (status, said) = page.act(&page.token, &start);
    assert!(status == "409" && said.contains("stop it first"), "{status} {said}");
    assert!(lab.ok(&["down"]).contains("nothing is left"));
    let named = format!("playctl --platform {} up", lab.platform);
    let told = eventually(SOON, || {
        let trouble = apart_page.story()["present"]["trouble"].to_string();
        if trouble.contains(&named) { Ok(()) } else { Err(trouble) }
    });
    let pid = rustix::process::Pid::from_child(&apart);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let ended = eventually(SOON, || apart.try_wait().expect("can be waited for").ok_or(()));
    if ended.is_err() {
        apart.kill().expect("not waited for yet");
        apart.wait().expect("it ends");
    }
    assert_eq!(ended.map(|status| status.code()), Ok(Some(130)));
    drop(stdout);
    told.expect("it names the platform");
    assert!(lab.processes().is_empty());
    assert!(TcpStream::connect(page.at).is_err());
}
