//! `playctl serve`: help and outputs.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use fixtures::{DEADLINE, Port, eventually, metric};
use rustix::process::{Pid, Signal, kill_process};
use support::{Lab, lossy};

#[test]
fn help_has_every_variable_with_its_default_and_meaning() {
    let lab = Lab::new("serve-help");
    for (service, variables) in [
        ("tcp", tcp::Settings::VARIABLES),
        ("udp", udp::Settings::VARIABLES),
        ("logger", logger::Settings::VARIABLES),
        ("gateway", &gateway::settings::variables::ALL[..]),
    ] {
        let text = lab.ok(&["serve", service, "--help"]);
        // Lines are wrapped at the terminal's width.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for variable in variables {
            let default = variable.default.map_or(String::new(), |default| format!("={default}"));
            let told = format!("{}{default} {}", variable.name, variable.meaning);
            assert!(text.contains(&told), "{service}: {told} is missing in: {text}");
        }
        assert_eq!(text.contains("--port"), service != "logger", "{text}");
    }
}

#[test]
fn a_service_that_does_not_exist_is_named_with_the_nearest() {
    let lab = Lab::new("serve-unknown");
    for unknown in ["tpc", "streams"] {
        let output = lab.run(&["serve", unknown]);
        assert_eq!(output.status.code(), Some(2));
        assert!(lossy(&output.stderr).contains(unknown), "{}", lossy(&output.stderr));
    }
}

/// A full pipe without a reader.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// A service that does not outlive its test, even if it fails.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn full_or_closed_outputs_do_not_block_or_end_a_service() {
    let lab = Lab::new("serve-outputs");
    let full_disk = || OpenOptions::new().write(true).open("/dev/full").unwrap();
    let (unread, full) = full_pipe();
    let (closed_end, closed) = io::pipe().unwrap();
    drop(closed_end);
    for (what, stdout, stderr) in [
        ("a full disk", Stdio::from(full_disk()), Stdio::from(full_disk())),
        ("a full pipe", full.try_clone().unwrap().into(), full.into()),
        ("a closed pipe", closed.try_clone().unwrap().into(), closed.into()),
    ] {
        let (clients, admin) = (Port::free(), Port::free());
        let service = lab
            .command(&["serve", "tcp", "-H", "127.0.0.1", "-p", &clients.number().to_string()])
            .env("ADMIN_PORT", admin.number().to_string())
            .env("SIGTERM_TIMEOUT", "0")
            // As many lines as there can be.
            .env("RUST_LOG", "trace")
            .stdout(stdout)
            .stderr(stderr)
            .spawn();
        let mut service = Service(service.unwrap());
        eventually(what, || TcpStream::connect(admin.address()).is_ok());
        eventually(what, || metric(admin.address(), "tcp_log_lines_unwritten_total") > 0);
        let mut client = TcpStream::connect(clients.address()).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.write_all(b"msg:still here").unwrap();
        let mut reply = [0; 10];
        io::Read::read_exact(&mut client, &mut reply).unwrap();
        assert_eq!(&reply, b"still here", "{what}");
        drop(client);
        kill_process(Pid::from_child(&service.0), Signal::TERM).unwrap();
        let mut status = None;
        eventually(what, || {
            status = service.0.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{what}: {status:?}");
    }
    drop(unread);
}

#[test]
fn a_taken_port_is_named_with_its_holder_and_the_variable() {
    let lab = Lab::new("serve-taken");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let holder = format!("(pid {})", std::process::id());
    let services = [
        "tcp",
        "ws",
        "ws-client",
        "balancer",
        "profiles",
        "directory",
        "stream",
        "page",
        "gateway",
        "logger",
    ];
    for service in services {
        for variable in ["PORT", "ADMIN_PORT"] {
            if (service, variable) == ("logger", "PORT") {
                continue;
            }
            let other = if variable == "PORT" { "ADMIN_PORT" } else { "PORT" };
            let mut command = lab.command(&["serve", service]);
            command.env("HOST", "127.0.0.1").env(variable, &port).env(other, "0");
            command.env("ENDPOINTS_FILE", lab.state().join("endpoints.json"));
            command.env("KAFKA_BROKERS", "127.0.0.1:1").env("ELASTICSEARCH_ENDPOINT", "http://127.0.0.1:1");
            let output = command.output().unwrap();
            let said = lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{service}: {said}");
            for words in [address.to_string(), format!("; {variable} takes another port"), holder.clone()] {
                assert!(said.contains(&words), "{service}: {words} is missing in {said}");
            }
        }
    }
}

/// A service's stderr until a line contains all of `words`.
fn says(mut command: std::process::Command, words: &[&str]) {
    use std::io::BufRead as _;
    let mut service = Service(command.stderr(Stdio::piped()).spawn().unwrap());
    let stderr = io::BufReader::new(service.0.stderr.take().unwrap());
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
    let mut all = Vec::new();
    while let Ok(line) = lines.recv_timeout(DEADLINE) {
        all.push(line);
        if all.last().is_some_and(|line| words.iter().all(|word| line.contains(word))) {
            return;
        }
    }
    panic!("{words:?} in {all:#?}");
}

/// The services that talk to no broker themselves.
#[test]
fn every_service_ships_its_log_where_kafka_is_set() {
    let lab = Lab::new("serve-kafka");
    let broker = local::embedded::kafka::Broker::start(&["general-logs"]).unwrap();
    for service in ["balancer", "ws-client", "page"] {
        let admin = Port::free();
        let serve = || {
            let mut command = lab.command(&["serve", service]);
            command.env("HOST", "127.0.0.1").env("PORT", "0").env("ADMIN_PORT", admin.number().to_string());
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let child = serve().env("KAFKA_BROKERS", broker.bootstrap_servers()).spawn();
        let running = Service(child.unwrap());
        eventually(service, || TcpStream::connect(admin.address()).is_ok());
        let shipped = format!("{}_log_lines_shipped_total", service.replace('-', "_"));
        // It has started, and it is ready.
        eventually(service, || metric(admin.address(), &shipped) >= 2);
        drop(running);

        let output = serve().env("KAFKA_BROKERS", "a:port").stderr(Stdio::piped()).output().unwrap();
        let said = lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{service}: {said}");
        assert!(said.contains("KAFKA_BROKERS=\"a:port\": expected host:port"), "{service}: {said}");
    }
}

#[test]
fn a_standalone_balancer_says_at_once_what_it_sees_and_waits_for() {
    let lab = Lab::new("serve-balancer");
    let redis = fixtures::Redis::start();
    let at = redis.settings();
    let balancer = |variables: &[(&str, &str)]| {
        let mut command = lab.command(&["serve", "balancer"]);
        command.env("HOST", "127.0.0.1").env("PORT", "0").env("ADMIN_PORT", "0");
        command.env("REDIS_HOST", &at.host).env("REDIS_PORT", at.port.to_string());
        command.env_remove("PLAYCTL_PLATFORM");
        // The first decision is far away.
        command.env("UTILIZATION_INTERVAL", "1h").env("BALANCE_INTERVAL", "1h");
        command.envs(variables.iter().copied());
        command
    };
    says(balancer(&[("REDIS_PORT", "1")]), &["Redis at", "nothing is decided until Redis answers"]);
    says(balancer(&[]), &["Redis lists no sessions", "waiting for servers that list theirs"]);
    says(
        balancer(&[("KUBERNETES_APP_LABEL", "tcp")]),
        &["a platform counts connections", "PLAYCTL_PLATFORM", "SESSIONS_FROM=redis"],
    );
    says(
        balancer(&[("PLAYCTL_PLATFORM", "nobody")]),
        &["PLAYCTL_PLATFORM=nobody: no platform of this name runs here", "playctl --platform nobody up"],
    );
    redis.say(&["SET", "WsSession#1", r#"{"userId":"u","sessionId":"1","hostId":"10.0.0.1"}"#]);
    redis.say(&["SET", "WsSession#2", "{"]);
    says(balancer(&[]), &["observing the service", "\"servers\":1", "\"sessions\":1"]);
    says(balancer(&[]), &["WsSession#2", "are no sessions", "\"count\":1"]);
}
