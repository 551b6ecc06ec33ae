//! Metrics of services and gateways at their admin ports, found like Prometheus finds them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::support::{ANSWER, Lab};

/// The admin ports of all replicas (`services`) or of all gateways (`gateways`), by name.
pub(crate) fn ports(lab: &Lab, job: &str) -> Vec<(String, SocketAddr)> {
    let folder = lab.home().join("state/playctl").join(&lab.platform).join("parts/prometheus/targets");
    let text = fs::read_to_string(folder.join(format!("{job}.json"))).expect("the platform writes it");
    let listed: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let port = |target: &Value| {
        let address = text(&target["targets"][0]).parse().expect("an address");
        (text(&target["labels"]["pod"]), address)
    };
    listed.iter().map(port).collect()
}

/// A counter or gauge, named with its labels. `None`: it does not exist, or nobody answers.
pub(crate) fn metric(admin: SocketAddr, name: &str) -> Option<u64> {
    let page = page(admin).ok()?;
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn page(admin: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {admin}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
