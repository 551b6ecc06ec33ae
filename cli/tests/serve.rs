//! `playctl serve`: its help, and its outputs.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::TcpStream;
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
        // Lines are wrapped where the terminal ends.
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

/// A pipe that nobody reads and that has no room left.
fn full_pipe() -> (io::PipeReader, io::PipeWriter) {
    let (reader, mut writer) = io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// Does not outlive its test, whatever that comes to.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn outputs_that_take_nothing_hold_up_and_end_nothing() {
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
