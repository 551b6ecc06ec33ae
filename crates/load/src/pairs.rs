//! Creates the users and profiles that a load over SSE requests, in the service that stores them.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use scenario::Scenario;

use crate::LoadError;

/// Time limit for each of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Creates each pair of a scenario in a `profiles` service, whether or not it exists.
///
/// # Errors
/// One of them was not created.
pub fn bind(profiles: SocketAddr, scenario: &Scenario) -> Result<(), LoadError> {
    for number in 0..scenario.pairs() {
        let (user, profile) = Scenario::pair(number);
        let failed = |reason: String| LoadError::Pairs { profiles, reason };
        let status = put(profiles, &user, &profile).map_err(|error| failed(error.to_string()))?;
        if !status.contains(" 200") {
            return Err(failed(format!(
                "profile {profile} was answered with `{}`",
                status.trim_end().escape_debug()
            )));
        }
    }
    Ok(())
}

/// The first line of the answer.
fn put(profiles: SocketAddr, user: &str, profile: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&profiles, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body = format!(r#"{{"users":["{user}"]}}"#);
    write!(
        stream,
        "PUT /profiles/{profile} HTTP/1.1\r\nHost: {profiles}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut status = String::new();
    BufReader::new(io::Read::take(stream, 256)).read_line(&mut status)?;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, net::TcpListener};

    use super::*;

    /// Answers this many requests with this status. Returns the requests.
    fn serve(count: usize, status: &'static str) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = std::thread::spawn(move || {
            let answer = |_| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"]}") {
                    let mut part = [0; 512];
                    let read = stream.read(&mut part).unwrap();
                    request.extend_from_slice(&part[..read]);
                }
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
                String::from_utf8(request).unwrap()
            };
            (0..count).map(answer).collect()
        });
        (address, serving)
    }

    fn scenario(pairs: u64) -> Scenario {
        Scenario { pairs: Some(pairs), protocol: scenario::Protocol::Sse, ..Scenario::default() }
    }

    #[test]
    fn every_requested_pair_is_created() {
        let (address, serving) = serve(2, "200 OK");
        let scenario = scenario(2);
        bind(address, &scenario).unwrap();
        for (number, request) in serving.join().unwrap().iter().enumerate() {
            let path = scenario.path_of(number as u64);
            let [_, _, user, profile] = path.split('/').collect::<Vec<_>>()[..] else { panic!("{path}") };
            assert!(request.starts_with(&format!("PUT /profiles/{profile} HTTP/1.1\r\n")), "{request}");
            assert!(request.ends_with(&format!("\r\n\r\n{{\"users\":[\"{user}\"]}}")), "{request}");
        }
    }

    #[test]
    fn a_pair_that_cannot_be_created_is_named() {
        let (address, serving) = serve(1, "503 Service Unavailable");
        let error = bind(address, &scenario(2)).unwrap_err().to_string();
        let expected = "profile 00000000-0000-4000-9000-000000000001 was answered with `HTTP/1.1 503";
        assert!(error.contains(expected) && error.contains(&address.to_string()), "{error}");
        serving.join().unwrap();
        assert!(bind(address, &scenario(1)).unwrap_err().to_string().contains("refused"));
    }
}
