//! A platform's services as shown by `status`, and HTTP requests to them.

#![allow(dead_code, reason = "each test binary uses its part of this module")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;

use crate::support::{ANSWER, Lab, lossy};

pub(crate) fn service(lab: &Lab, name: &str) -> Value {
    let services = lab.status()["services"].as_array().expect("services").clone();
    services.into_iter().find(|service| service["name"] == name).expect("it runs")
}

pub(crate) fn ready(lab: &Lab, name: &str) -> Vec<Value> {
    let replicas = service(lab, name)["replicas"].as_array().expect("replicas").clone();
    replicas.into_iter().filter(|replica| replica["phase"] == "ready").collect()
}

pub(crate) fn address(value: &Value) -> SocketAddr {
    value.as_str().expect("an address").parse().expect("an address")
}

/// Status and body of an answer.
pub(crate) fn ask(to: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&to, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok((status, body.to_owned()))
}
