use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use fixtures::{Redis, settles};
use parking_lot::Mutex;
use service::redis::Settings;

use crate::support::Ws;

#[test]
fn without_redis_sessions_continue_and_are_listed_when_it_returns() {
    let mut redis = Redis::start();
    redis.down();
    let ws = Ws::start(&redis, &[("SESSION_REFRESH", "200ms")]);
    ws.expect_degraded("redis: Redis at 127.0.0.1:");
    let mut anna = ws.open("anna");
    assert_eq!(anna.say("hi"), "hi");
    let (status, head, body) = ws.ask("GET", "/ws-session/all", "", "");
    assert_eq!(status, 503, "{body}");
    assert!(head.contains("retry-after: 5") && body.contains("is away"), "{head} {body}");

    redis.up();
    ws.expect_all_well();
    settles("listed", vec!["anna".to_owned()], || ws.users());

    // Redis is away again with changes meanwhile, and returns empty.
    redis.down();
    ws.expect_degraded("redis");
    let _bert = ws.open("bert");
    drop(anna);
    ws.expect_metric("ws_sessions", 1);
    redis.up();
    ws.expect_all_well();
    settles("listed", vec!["bert".to_owned()], || ws.users());
}

/// A connection to Redis that can be cut. Redis itself keeps its data, like one with a file after a restart.
struct Way {
    address: SocketAddr,
    state: Arc<Mutex<WayState>>,
}

#[derive(Default)]
struct WayState {
    is_cut: bool,
    streams: Vec<TcpStream>,
}

impl Way {
    fn to(redis: &Redis) -> Self {
        let at = redis.settings();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state: Arc<Mutex<WayState>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let mut state = shared.lock();
                if state.is_cut {
                    continue;
                }
                let far = TcpStream::connect((at.host.as_str(), at.port)).unwrap();
                for stream in [&near, &far] {
                    state.streams.push(stream.try_clone().unwrap());
                }
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || io::copy(&mut &near, &mut &far));
                thread::spawn(move || io::copy(&mut &far_too, &mut &near_too));
            }
        });
        Self { address, state }
    }

    fn settings(&self) -> Settings {
        Settings { host: self.address.ip().to_string(), port: self.address.port(), password: None }
    }

    fn cut(&self) {
        let mut state = self.state.lock();
        state.is_cut = true;
        for stream in state.streams.drain(..) {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.lock().is_cut = false;
    }
}

#[test]
fn users_who_left_during_a_redis_outage_are_not_listed_afterwards() {
    let redis = Redis::start();
    let way = Way::to(&redis);
    // No refresh and no expiry can hide a mistake.
    let ws = Ws::start_at(&way.settings(), &[("SESSION_REFRESH", "1h")]);
    let (anna, bert, _carl) = (ws.open("anna"), ws.open("bert"), ws.open("carl"));
    settles("listed", vec!["anna".to_owned(), "bert".to_owned(), "carl".to_owned()], || ws.users());
    way.cut();
    // The first change reveals the loss, unless the connection's end was noticed before.
    drop(anna);
    ws.expect_degraded("redis");
    drop(bert);
    ws.expect_metric("ws_sessions", 1);
    let _dora = ws.open("dora");
    way.mend();
    ws.expect_all_well();
    settles("listed", vec!["carl".to_owned(), "dora".to_owned()], || ws.users());
}
