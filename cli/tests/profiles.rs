//! Users and profiles on this machine's platform.

#[path = "support/services.rs"]
mod services;
mod support;

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use services::{address, ask, ready, service};
use support::{Lab, both, eventually, lossy};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);

/// The preset, alone and with quick drains.
const STREAMS: [&str; 8] = [
    "-f",
    "streams",
    "--set",
    "tcp.enabled=false,kafka.enabled=false,memcached.enabled=false",
    "--set",
    "profiles.env.SIGTERM_TIMEOUT=0,profiles.env.DRAIN_GRACE=1",
    "--set",
    "directory.env.SIGTERM_TIMEOUT=0,directory.env.DRAIN_GRACE=1",
];

fn up(lab: &Lab, more: &[&str]) {
    lab.ok(&[&["up"], &STREAMS[..], more].concat());
}

/// The address of profiles for the platform's services.
fn profiles(lab: &Lab) -> SocketAddr {
    address(&service(lab, "profiles")["endpoint"])
}

fn users(lab: &Lab) -> Result<Value, String> {
    let (status, body) = ask(profiles(lab), "GET", "/users", "").map_err(|error| error.to_string())?;
    if status == 200 { serde_json::from_str(&body).map_err(|error| error.to_string()) } else { Err(body) }
}

#[test]
fn without_cassandra_one_replica_keeps_its_data_until_it_ends() {
    let lab = Lab::new("profiles");
    up(&lab, &[]);
    let text = lab.ok(&["status"]);
    assert!(text.contains("its data are in memory: for one replica only, and lost when it ends"), "{text}");
    let (status, body) = ask(profiles(&lab), "POST", "/users", r#"{"name": "Ann"}"#).expect("an answer");
    assert_eq!(status, 200, "{body}");
    let ann: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(users(&lab), Ok(json!([ann])));
    assert_eq!(ready(&lab, "profiles").len(), 1);

    for refused in [
        &["scale", "profiles", "2"][..],
        &[&["up"], &STREAMS[..], &["--set", "profiles.replicas=2"]].concat(),
        &[
            &["up"],
            &STREAMS[..],
            &["--set-json", r#"profiles.autoscaling={"maxReplicas": 2}"#, "--set", "profiles.replicas=null"],
        ]
        .concat(),
    ] {
        let output = lab.run(refused);
        assert!(!output.status.success(), "{}", both(&output));
        let said = lossy(&output.stderr);
        assert!(
            said.contains("more than one replica of profiles is not possible here: the data are in memory"),
            "{said}"
        );
    }
    assert_eq!(users(&lab), Ok(json!([ann])), "nothing was touched");
    lab.ok(&["scale", "profiles", "0"]);
    lab.ok(&["scale", "profiles", "1"]);
    eventually(SOON, || match users(&lab) {
        Ok(users) if users == json!([]) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("another replica, without the data of the first");
}

/// All requests of the original's users, as they send them: through port 8090, and to `profiles` at its own port.
#[test]
fn every_url_of_the_original_answers_as_it_did() {
    let lab = Lab::new("urls");
    up(&lab, &["--set", "stream.env.SIGTERM_TIMEOUT=0,stream.env.DRAIN_SPREAD=0"]);
    let entrance = address(&service(&lab, "stream")["endpoint"]);
    let urls = concat!(env!("CARGO_MANIFEST_DIR"), "/../infrastructure/local-dev/urls");
    let mut command = std::process::Command::new(urls);
    command.args([format!("http://{entrance}"), format!("http://{}", profiles(&lab))]);
    let output = command.output().expect("bash runs it");
    assert!(output.status.success(), "{}", both(&output));
    // The address of a service without its own port.
    assert_eq!(service(&lab, "directory")["route"], format!("{entrance}/main"));
    let text = lab.ok(&["status"]);
    let told = format!("directory: 1 of 1 replicas ready, clients connect to {entrance}/main");
    assert!(text.contains(&told), "{told}: {text}");
    // During their start, no service reported another one as away.
    for service in ["directory", "stream"] {
        let log = lab.ok(&["logs", service]);
        let (starting, _) = log.split_once("\"ready\"").expect("it was ready");
        let words = ["profiles is away", "profiles does not answer"];
        assert!(!words.iter().any(|away| starting.contains(away)), "{log}");
    }
}

/// With Cassandra on the platform: several replicas share the data, which outlive replicas and Cassandra's own end.
#[cfg(feature = "real-servers")]
#[test]
fn with_cassandra_replicas_share_lasting_data() {
    let lab = Lab::new("profiles-cassandra");
    up(&lab, &["--with", "cassandra", "--set", "profiles.replicas=2"]);
    let text = lab.ok(&["status"]);
    assert!(!text.contains("in memory: for one replica"), "{text}");
    let (status, body) = ask(profiles(&lab), "POST", "/users", r#"{"name": "Ann"}"#).expect("an answer");
    assert_eq!(status, 200, "{body}");
    let all = format!("[{body}]");
    let replicas: Vec<SocketAddr> =
        ready(&lab, "profiles").iter().map(|one| address(&one["address"])).collect();
    assert_eq!(replicas.len(), 2);
    for replica in replicas {
        assert_eq!(ask(replica, "GET", "/users", "").expect("an answer"), (200, all.clone()));
    }
    lab.ok(&["scale", "profiles", "0"]);
    lab.ok(&["scale", "profiles", "1"]);
    lab.ok(&["stop", "cassandra"]);
    eventually(SOON, || match ask(profiles(&lab), "GET", "/users", "") {
        Ok((503, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("nothing to read from");
    lab.ok(&["start", "cassandra"]);
    eventually(2 * SOON, || match ask(profiles(&lab), "GET", "/users", "") {
        Ok((200, body)) if body == all => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .expect("the data are still there");
}

#[cfg(feature = "real-servers")]
#[test]
fn the_version_of_a_given_cassandra_is_shown() {
    let nodes = std::env::var("CASSANDRA_CONTACT_POINTS").expect("`testbed env cassandra` sets it");
    let lab = Lab::new("profiles-given");
    up(&lab, &["--with", &format!("cassandra={nodes}")]);
    let status = lab.status();
    let parts = status["parts"].as_array().expect("parts");
    let cassandra = parts.iter().find(|part| part["name"] == "cassandra").expect("a Cassandra");
    assert_eq!((&cassandra["origin"], &cassandra["healthy"]), (&json!("given"), &json!(true)), "{cassandra}");
    assert!(cassandra["version"].as_str().is_some_and(|version| version.starts_with("5.")), "{cassandra}");
}
