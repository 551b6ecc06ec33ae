use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::paths::write_private;

const SERVERS: [Program; 7] = [
    Program::Kafka,
    Program::Memcached,
    Program::Elasticsearch,
    Program::Prometheus,
    Program::Redis,
    Program::Etcd,
    Program::Cassandra,
];

fn spec(program: Program, home: &Path) -> Spec {
    let executable = match program {
        Program::Kafka | Program::Elasticsearch | Program::Cassandra => PathBuf::from("/bin/sh"),
        other => PathBuf::from("/usr/bin").join(other.name()),
    };
    Spec {
        program,
        found: Found { version: "1.2.3".to_owned(), executable, home: home.to_owned() },
        ip: "127.77.250.11".parse().unwrap(),
        port: 9092,
        folder: home.join(program.name()),
        topics: vec!["broadcasts".to_owned()],
        members: vec![],
    }
}

fn words(launch: &Launch) -> String {
    let words: Vec<_> = launch.arguments.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[test]
fn every_server_listens_on_its_own_address_alone() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("lib")).unwrap();
    fs::write(base.path().join("lib/jamm-0.4.0.jar"), "").unwrap();
    for program in SERVERS {
        let folder = base.path().join(program.name());
        let launch = spec(program, base.path()).prepare(uuid::Uuid::nil()).unwrap();
        let mut said = words(&launch);
        for name in ["server.properties", "config/elasticsearch.yml", "redis.conf", "cassandra.yaml"] {
            said += &fs::read_to_string(folder.join(name)).unwrap_or_default();
        }
        assert!(said.contains("127.77.250.11"), "{program:?}: {said}");
        assert!(!said.contains("0.0.0.0"), "{program:?}: {said}");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_gateway_is_not_a_server() {
    let base = tempfile::tempdir().unwrap();
    assert!(spec(Program::Envoy, base.path()).prepare(uuid::Uuid::nil()).is_err());
}

#[test]
fn the_kafka_configuration_has_one_broker() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("kafka");
    spec(Program::Kafka, base.path()).prepare(uuid::Uuid::nil()).unwrap();
    insta::assert_snapshot!(fs::read_to_string(folder.join("server.properties")).unwrap());
}

#[test]
fn redis_has_a_password_that_was_generated_and_stays() {
    let base = tempfile::tempdir().unwrap();
    let config = |home: &Path| {
        let launch = spec(Program::Redis, home).prepare(uuid::Uuid::nil()).unwrap();
        assert_eq!(words(&launch), "redis.conf", "others can read command lines");
        let path = home.join("redis/redis.conf");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::read_to_string(path).unwrap()
    };
    let (first, again) = (config(base.path()), config(base.path()));
    assert_eq!(first, again, "what was started with it still knows it");
    let password = first.lines().find_map(|line| line.strip_prefix("requirepass ")).unwrap();
    assert_eq!(password.len(), 32);
    let other = tempfile::tempdir().unwrap();
    assert!(!config(other.path()).contains(password), "every platform has its own");
}

#[test]
fn an_etcd_member_knows_its_name_and_the_others() {
    let base = tempfile::tempdir().unwrap();
    let members = [("etcd01", "127.77.250.10"), ("etcd02", "127.77.250.11"), ("etcd03", "127.77.250.12")];
    let members = members.map(|(name, ip)| (name, ip.parse().unwrap())).to_vec();
    let spec = Spec { members, port: 2379, ..spec(Program::Etcd, base.path()) };
    let words = words(&spec.prepare(uuid::Uuid::nil()).unwrap());
    for said in [
        "--name=etcd02",
        "--initial-cluster=etcd01=http://127.77.250.10:2380,etcd02=http://127.77.250.11:2380,etcd03=http://127.77.250.12:2380",
        "--listen-peer-urls=http://127.77.250.11:2380",
        "--listen-client-urls=http://127.77.250.11:2379",
    ] {
        assert!(words.split(' ').any(|word| word == said), "{said} in {words}");
    }
    let ports: Vec<String> = spec.addresses().map(|address| address.to_string()).collect();
    assert_eq!(ports, ["127.77.250.11:2379", "127.77.250.11:2380"]);
}

#[test]
fn cassandra_without_its_agent_is_not_started() {
    let base = tempfile::tempdir().unwrap();
    fs::create_dir(base.path().join("lib")).unwrap();
    let error = spec(Program::Cassandra, base.path()).prepare(uuid::Uuid::nil()).unwrap_err();
    assert!(error.to_string().contains("no jamm-….jar"), "{error}");
}

#[test]
fn a_private_file_is_readable_by_its_owner_only() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("secret");
    write_private(&path, "longer than what follows").unwrap();
    write_private(&path, "x").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_ready() {
    let base = tempfile::tempdir().unwrap();
    let nobody =
        Spec { ip: "127.76.250.250".parse().unwrap(), port: 9, ..spec(Program::Memcached, base.path()) };
    for program in SERVERS {
        let failure =
            Spec { program, ..nobody.clone() }.look(true, Duration::from_secs(10)).await.unwrap_err();
        let why = failure.to_string();
        assert!(why.contains("refused"), "{program:?}: {why}");
    }
}
