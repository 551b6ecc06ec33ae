//! An account that reaches the API server only through a proxy.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use platform::{EventKind, Target as _};

use crate::{
    metrics::{self, Certificate},
    reading,
    world::{Namespace, Watched},
};

/// How long one direction is listened to before the other one.
const TURN: Duration = Duration::from_millis(2);

/// A proxy, and the servers it was asked for. With a certificate it speaks TLS itself.
fn proxy(certificate: Option<&Certificate>) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let config = certificate.map(Certificate::server);
    let shared = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (config, asked) = (config.clone(), Arc::clone(&shared));
            thread::spawn(move || {
                let socket = client.try_clone().unwrap();
                // A client that goes away ends it.
                let _ = match config {
                    None => serve(client, &socket, &asked),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        serve(rustls::StreamOwned::new(connection, client), &socket, &asked)
                    }
                };
            });
        }
    });
    (address, asked)
}

fn serve(mut client: impl Read + Write, socket: &TcpStream, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    let mut server = TcpStream::connect(&to)?;
    asked.lock().push(to);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    client.flush()?;
    socket.set_read_timeout(Some(TURN))?;
    server.set_read_timeout(Some(TURN))?;
    let mut buffer = vec![0; 64 << 10];
    while pass(&mut client, &mut server, &mut buffer)? && pass(&mut server, &mut client, &mut buffer)? {}
    Ok(())
}

/// Passes on what is there; whether there can be more.
fn pass(from: &mut impl Read, to: &mut impl Write, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read(buffer) {
        Ok(0) => Ok(false),
        Ok(length) => {
            to.write_all(&buffer[..length])?;
            to.flush()?;
            Ok(true)
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(true),
        Err(error) => Err(error),
    }
}

#[test]
fn an_account_behind_a_proxy_sees_and_follows_the_same() {
    let namespace = Namespace::new("proxied");
    namespace.application("chat", 1);
    namespace.autoscaler("chat", 1, 2);
    let certificate = metrics::certificate("IP:127.0.0.1");
    let directly = namespace.account("direct", &reading(), true);
    let proxies = [("plain", "http", None), ("secure", "https", Some(&certificate))];
    let followed = proxies.map(|(name, scheme, certificate)| {
        let (address, asked) = proxy(certificate);
        let target = namespace.account_through(name, &format!("{scheme}://{address}"), certificate);
        let watched = Watched::new(&target);
        (name, asked, target, watched)
    });
    namespace.load("chat", 250_000);
    for (name, asked, target, watched) in &followed {
        watched
            .until("2 pods", |events| events.iter().any(|event| matches!(event, EventKind::PodReady { .. })));
        let (seen, same) = (target.snapshot().unwrap(), directly.snapshot().unwrap());
        assert_eq!(seen.problems, Vec::<String>::new(), "{name}");
        let replicas = |of: &platform::target::Snapshot| {
            of.services.iter().map(|one| one.replicas.len()).collect::<Vec<_>>()
        };
        assert_eq!((replicas(&seen), replicas(&same)), (vec![2], vec![2]), "{name}");
        let asked = asked.lock().clone();
        let server = namespace.server();
        assert!(!asked.is_empty() && asked.iter().all(|to| format!("https://{to}") == server), "{asked:?}");
        assert_eq!(watched.warnings(), Vec::<String>::new(), "{name}");
    }
}
