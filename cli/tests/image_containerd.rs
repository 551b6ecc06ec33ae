//! The image in a real containerd: loaded unchanged, and run by runc. Needs `testbed up containerd`.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Output},
    time::Duration,
};

use support::{Lab, both, eventually, lossy};

const DEADLINE: Duration = Duration::from_mins(1);
const NAME: &str = "docker.io/library/playctl:tested";

fn ctr(arguments: &[&str]) -> Output {
    Command::new("ctr").args(["--namespace", "k8s.io"]).args(arguments).output().expect("ctr is on PATH")
}

fn ctr_ok(arguments: &[&str]) -> String {
    let output = ctr(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", both(&output));
    lossy(&output.stdout)
}

/// A container, which is removed with its test.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        ctr(&["tasks", "kill", "--signal", "SIGKILL", &self.0]);
        let gone = eventually(DEADLINE, || {
            ctr(&["tasks", "rm", "--force", &self.0]);
            if ctr(&["containers", "rm", &self.0]).status.success() { Ok(()) } else { Err(()) }
        });
        assert!(gone.is_ok() || std::thread::panicking(), "{} cannot be removed", self.0);
    }
}

#[test]
fn containerd_loads_the_image_unchanged_and_runs_it_as_its_user() {
    let lab = Lab::new("image-containerd");
    let loaded = lab.json(&["image", "load", "--into", "containerd", "--tag", "playctl:tested"]);
    assert_eq!(loaded["references"][0], "playctl:tested");
    let digest = loaded["built"]["digest"].as_str().unwrap();
    let listed = ctr_ok(&["images", "ls", &format!("name=={NAME}")]);
    assert!(listed.contains(digest), "the digest survives: {listed}");

    let held = fixtures::Port::free();
    let port = held.number().to_string();
    let container = Container(format!("playctl-{}", std::process::id()));
    let program = image::ENTRYPOINT;
    ctr_ok(&[
        "run",
        "--detach",
        "--net-host",
        "--read-only",
        "--env",
        "ADMIN_PORT=0",
        "--env",
        "SIGTERM_TIMEOUT=0",
        NAME,
        &container.0,
        program,
        "serve",
        "tcp",
        "-H",
        "127.0.0.1",
        "-p",
        &port,
    ]);
    let mut client = eventually(DEADLINE, || {
        TcpStream::connect(format!("127.0.0.1:{port}")).map_err(|error| error.to_string())
    })
    .expect("the service listens");
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"msg:from a container").unwrap();
    let mut reply = [0; 16];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"from a container");

    let task = ctr_ok(&["tasks", "ls"]);
    let task = task.lines().find(|line| line.starts_with(&container.0)).expect("a task");
    let status =
        fs::read_to_string(format!("/proc/{}/status", task.split_whitespace().nth(1).unwrap())).unwrap();
    let user = image::USER.split(':').next().unwrap();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("ids");
    assert!(ids.split_whitespace().all(|id| id == user), "{ids}");

    ctr_ok(&["tasks", "kill", "--signal", "SIGTERM", &container.0]);
    eventually(DEADLINE, || {
        let task = ctr_ok(&["tasks", "ls"]);
        if task.lines().any(|line| line.starts_with(&container.0) && line.contains("STOPPED")) {
            Ok(())
        } else {
            Err(task)
        }
    })
    .expect("it ends in order");
}
