//! The chart's balancer: kwok's pods have no processes, so the program runs beside the cluster, with only the rights of
//! the account that the chart creates for it.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use fixtures::Redis;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::lab::{Lab, until};

/// A process that ends with the test.
struct Balancer(Child);

impl Balancer {
    fn start(name: &str, kubeconfig: &str, redis: &Redis) -> Self {
        let at = redis.settings();
        let mut command = Command::new(env!("CARGO_BIN_EXE_playctl"));
        command.args(["serve", "balancer"]).env_clear().envs([
            ("BALANCER_KUBECONFIG", kubeconfig),
            ("POD_NAME", name),
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("ADMIN_HOST", "127.0.0.1"),
            ("ADMIN_PORT", "0"),
            ("REDIS_HOST", &at.host),
            ("REDIS_PORT", &at.port.to_string()),
            ("UTILIZATION_INTERVAL", "1"),
        ]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A kubeconfig for the account of the chart's balancer.
fn of_its_account(lab: &Lab) -> String {
    let token = lab.kubectl(&["create", "token", "balancer"]).ok();
    let mut config = lab.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]).json();
    config["users"] = json!([{"name": "balancer", "user": {"token": token.trim()}}]);
    let cluster = config["clusters"][0]["name"].clone();
    config["contexts"] = json!([{"name": "balancer",
        "context": {"cluster": cluster, "user": "balancer", "namespace": lab.namespace}}]);
    config["current-context"] = json!("balancer");
    let file = lab.folder().join("balancer.yaml");
    fs::write(&file, config.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Ready servers of `ws`, by their addresses.
fn servers(lab: &Lab, count: usize) -> Vec<String> {
    until("servers of ws", || {
        let pods = lab.kubectl(&["get", "pods", "-l", "app.kubernetes.io/name=ws", "-o", "json"]).json();
        let ip = |pod: &Value| Some(pod["status"]["podIP"].as_str()?.to_owned());
        let ips: Vec<String> = pods["items"].as_array()?.iter().filter_map(ip).collect();
        (ips.len() == count).then_some(ips)
    })
}

fn session(redis: &Redis, host: &str, number: usize) {
    let value =
        format!(r#"{{"userId":"u-{host}-{number}","sessionId":"{host}-{number}","hostId":"{host}"}}"#);
    redis.say(&["SET", &format!("WsSession#{host}-{number}"), &value]);
}

/// Waits until the balancer of this name holds the Lease and the Deployment has this number of replicas.
fn until_set(lab: &Lab, holder: &str, replicas: u64) {
    until(&format!("{replicas} replicas by {holder}"), || {
        let lease = lab.get("lease", "balancer-ws")?;
        let is_held = lease["spec"]["holderIdentity"].as_str()?.starts_with(holder);
        (is_held && lab.get("deployment", "ws")?["spec"]["replicas"] == replicas).then_some(())
    });
}

#[test]
fn the_balancer_adds_servers_with_its_own_account_and_only_one_of_two_acts() {
    let lab = Lab::new("balancer");
    let alone = "ws-client.enabled=false,tcp.enabled=false,kafka.enabled=false,memcached.enabled=false";
    lab.up(&["-f", "balancer", "--set", alone]).ok();
    let token = lab.get("secret", "playground-shed-token").unwrap();
    assert!(token["data"]["token"].as_str().unwrap().len() > 40);
    let (redis, kubeconfig) = (Redis::start(), of_its_account(&lab));
    let first = Balancer::start("first", &kubeconfig, &redis);
    let ip = servers(&lab, 1).remove(0);
    for number in 0..9 {
        session(&redis, &ip, number);
    }
    until_set(&lab, "first_", 2);
    let events = lab.kubectl(&["get", "events", "--field-selector", "reason=Balanced", "-o", "json"]).json();
    let said = &events["items"][0];
    assert_eq!(said["message"], "1 → 2: 9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers; 1 more");
    assert_eq!(
        (&said["involvedObject"]["kind"], &said["involvedObject"]["name"]),
        (&json!("Deployment"), &json!("ws"))
    );

    // The other one stands by, and takes over after the kill.
    let second = Balancer::start("second", &kubeconfig, &redis);
    let newer = servers(&lab, 2).into_iter().find(|other| *other != ip).unwrap();
    first.signal(Signal::KILL);
    for number in 0..8 {
        session(&redis, &newer, number);
    }
    until_set(&lab, "second_", 3);
    second.signal(Signal::TERM);
    until("the lease given back", || {
        let lease = lab.get("lease", "balancer-ws")?;
        (lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty()
            && lease["spec"]["leaseTransitions"] == 2)
            .then_some(())
    });
    lab.run(&["down"]).ok();
    assert!(lab.get("namespace", &lab.namespace).is_none(), "the lease and the token are gone, too");
}
