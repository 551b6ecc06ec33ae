use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::paths::write_private;

fn spec(program: Program, home: &Path) -> Spec {
    let executable = match program {
        Program::Kafka | Program::Elasticsearch => PathBuf::from("/bin/sh"),
        other => PathBuf::from("/usr/bin").join(other.name()),
    };
    Spec {
        program,
        found: Found { version: "1.2.3".to_owned(), executable, home: home.to_owned() },
        ip: "127.77.250.11".parse().unwrap(),
        port: 9092,
        topics: vec!["broadcasts".to_owned()],
    }
}

fn words(launch: &Launch) -> String {
    let words: Vec<_> = launch.arguments.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

#[test]
fn every_server_listens_on_its_own_address_alone() {
    let base = tempfile::tempdir().unwrap();
    for program in [Program::Kafka, Program::Memcached, Program::Elasticsearch, Program::Prometheus] {
        let folder = base.path().join(program.name());
        let launch = spec(program, base.path()).prepare(&folder, uuid::Uuid::nil()).unwrap();
        let mut said = words(&launch);
        for name in ["server.properties", "config/elasticsearch.yml"] {
            said += &fs::read_to_string(folder.join(name)).unwrap_or_default();
        }
        assert!(said.contains("127.77.250.11"), "{program:?}: {said}");
        assert!(!said.contains("0.0.0.0"), "{program:?}: {said}");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_gateway_is_no_server() {
    let base = tempfile::tempdir().unwrap();
    assert!(spec(Program::Envoy, base.path()).prepare(base.path(), uuid::Uuid::nil()).is_err());
}

#[test]
fn kafka_is_told_of_one_broker() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("kafka");
    spec(Program::Kafka, base.path()).prepare(&folder, uuid::Uuid::nil()).unwrap();
    insta::assert_snapshot!(fs::read_to_string(folder.join("server.properties")).unwrap());
}

#[test]
fn a_private_file_is_nobody_elses() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("secret");
    write_private(&path, "longer than what follows").unwrap();
    write_private(&path, "x").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "x");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn who_does_not_answer_is_not_ready() {
    let base = tempfile::tempdir().unwrap();
    let nobody =
        Spec { ip: "127.76.250.250".parse().unwrap(), port: 9, ..spec(Program::Memcached, base.path()) };
    for program in [Program::Kafka, Program::Memcached, Program::Elasticsearch, Program::Prometheus] {
        let failure =
            Spec { program, ..nobody.clone() }.look(true, Duration::from_secs(10)).await.unwrap_err();
        let why = failure.to_string();
        assert!(why.contains("refused"), "{program:?}: {why}");
    }
}
