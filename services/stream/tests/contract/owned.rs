//! Keys that only their owner modifies, against a Redis.

use std::time::Duration;

use fixtures::Redis;
use service::redis::{self, owned};

const LIFE: Duration = Duration::from_mins(10);

fn run<T>(redis: &Redis, work: impl AsyncFnOnce(&mut redis::MultiplexedConnection) -> T) -> T {
    let runtime = service::web::runtime(1).unwrap();
    let settings = redis.settings();
    runtime.block_on(async {
        let mut connection = redis::connect(&settings).await.unwrap();
        work(&mut connection).await
    })
}

#[test]
fn only_keys_of_their_owner_are_refreshed_or_removed() {
    let redis = Redis::start();
    redis.say(&["SET", "mine", "me", "PX", "60000"]);
    redis.say(&["SET", "theirs", "them", "PX", "60000"]);
    redis.say(&["SET", "forever", "me"]);
    let keys = [("mine", "me"), ("theirs", "me"), ("nobody's", "me"), ("forever", "me")];
    let extended = run(&redis, async |connection| {
        assert!(owned::extend(connection, &[], LIFE).await.unwrap().is_empty());
        // Twice, to check that the first call leaves no watch behind.
        owned::extend(connection, &keys[1..3], LIFE).await.unwrap();
        owned::extend(connection, &keys, LIFE).await.unwrap()
    });
    assert_eq!(extended, [true, false, false, true]);
    let life = |key: &str| redis.say(&["PTTL", key])[0].parse::<u64>().unwrap();
    assert!(life("mine") > 60_000 && life("forever") > 60_000);
    assert!(life("theirs") <= 60_000);
    let removed = run(&redis, async |connection| owned::remove(connection, &keys).await.unwrap());
    assert_eq!(removed, [true, false, false, true]);
    assert_eq!(redis.say(&["KEYS", "*"]), ["theirs"]);
}

#[test]
fn more_keys_than_one_step_takes_are_all_checked() {
    let redis = Redis::start();
    let names: Vec<String> = (0..1203).map(|number| format!("key-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let owner = if number % 3 == 0 { "them" } else { "me" };
        redis.say(&["SET", name, owner, "PX", "60000"]);
    }
    let keys: Vec<owned::Owned<'_>> = names.iter().map(|name| (name.as_str(), "me")).collect();
    let extended = run(&redis, async |connection| owned::extend(connection, &keys, LIFE).await.unwrap());
    let expected: Vec<bool> = (0..1203).map(|number| number % 3 != 0).collect();
    assert_eq!(extended, expected);
}

#[test]
fn keys_that_others_keep_changing_stay_theirs_and_hide_no_other() {
    let redis = Redis::start();
    redis.say(&["SET", "mine", "me", "PX", "60000"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                redis.say(&["SET", "theirs", "them", "PX", "60000"]);
            }
        });
        for _ in 0..200 {
            let keys = [("mine", "me"), ("theirs", "me")];
            let extended =
                run(&redis, async |connection| owned::extend(connection, &keys, LIFE).await.unwrap());
            assert_eq!(extended, [true, false]);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let life: u64 = redis.say(&["PTTL", "theirs"])[0].parse().unwrap();
    assert!(life <= 60_000, "{life}");
}
