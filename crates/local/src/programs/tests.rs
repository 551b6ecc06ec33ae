use std::os::unix::fs::PermissionsExt as _;

use platform::values::ValuesSource;

use super::*;

/// A program that prints `text`.
fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\necho '{text}'\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn finder(path: &Path, testbed: &Path) -> Finder {
    Finder { path: vec![path.to_owned()], testbed: testbed.to_owned() }
}

#[test]
fn path_comes_first_then_the_newest_installation() {
    let base = tempfile::tempdir().unwrap();
    let (bin, testbed) = (base.path().join("bin"), base.path().join("testbed"));
    let finder = finder(&bin, &testbed);

    let error = finder.find(Program::Envoy).unwrap_err().to_string();
    assert!(error.contains("testbed install envoy"), "{error}");
    assert!(error.contains(&testbed.display().to_string()), "{error}");

    for version in ["1.9.0", "1.40.0"] {
        let installed = testbed.join(format!("envoy-{version}/envoy/_bin/envoy"));
        program(&installed, &format!("envoy  version: abc/{version}/Clean"));
    }
    assert_eq!(finder.find(Program::Envoy).unwrap().version, "1.40.0");

    program(&bin.join("envoy"), "envoy  version: abc/1.31.2/Clean");
    let found = finder.find(Program::Envoy).unwrap();
    assert_eq!((found.version.as_str(), found.executable), ("1.31.2", bin.join("envoy")));
}

#[test]
fn a_file_that_is_not_executable_is_not_a_program() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("memcached"), "text").unwrap();
    let error = finder(base.path(), base.path()).find(Program::Memcached).unwrap_err();
    assert!(error.to_string().contains("apt-get install memcached"), "{error}");
}

#[test]
fn java_programs_are_found_by_their_launcher_or_in_the_testbed() {
    let base = tempfile::tempdir().unwrap();
    let (bin, testbed) = (base.path().join("bin"), base.path().join("testbed"));
    let jar = |home: &Path, folder: &str, name: &str| {
        fs::create_dir_all(home.join(folder)).unwrap();
        fs::write(home.join(folder).join(name), b"").unwrap();
    };
    let finder = finder(&bin, &testbed);
    jar(&testbed.join("kafka-4.1.0"), "lib", "kafka_2.13-4.1.0.jar");
    let error = finder.find(Program::Kafka).unwrap_err().to_string();
    assert!(error.contains("needs java"), "{error}");

    program(&bin.join("java"), "");
    let found = finder.find(Program::Kafka).unwrap();
    assert_eq!((found.version.as_str(), found.home), ("4.1.0", testbed.join("kafka-4.1.0")));

    let home = base.path().join("opt/kafka");
    jar(&home, "libs", "kafka_2.13-3.9.1.jar");
    program(&home.join("bin/kafka-server-start.sh"), "");
    std::os::unix::fs::symlink(home.join("bin/kafka-server-start.sh"), bin.join("kafka-server-start.sh"))
        .unwrap();
    let found = finder.find(Program::Kafka).unwrap();
    assert_eq!((found.version.as_str(), found.home), ("3.9.1", home.canonicalize().unwrap()));
    assert_eq!(found.executable, bin.join("java"));

    jar(&testbed.join("cassandra-5.0.5"), "lib", "cassandra-all-5.0.5.jar");
    assert_eq!(finder.find(Program::Cassandra).unwrap().version, "5.0.5");
}

#[test]
fn the_testbed_folder_follows_its_variables() {
    let of = |variables: &'static [(&'static str, &'static str)]| {
        let lookup = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Finder::resolve(lookup).testbed
    };
    assert_eq!(of(&[("TESTBED_HOME", "/t"), ("HOME", "/h")]), Path::new("/t"));
    assert_eq!(of(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Path::new("/c/playctl/testbed"));
    assert_eq!(of(&[("HOME", "/h")]), Path::new("/h/.cache/playctl/testbed"));
}

#[test]
fn values_decide_which_programs_are_wanted() {
    let wanted = |set: &[&str]| {
        let set = set.iter().map(|&text| text.to_owned()).collect();
        Program::wanted(&Values::load(&ValuesSource { set, ..ValuesSource::default() }).unwrap())
    };
    assert_eq!(wanted(&[]), []);
    assert_eq!(wanted(&["kafka.real=true", "memcached.real=true"]), [Program::Kafka, Program::Memcached]);
    assert_eq!(wanted(&["kafka.real=true", "kafka.brokers=there:9092"]), []);
    assert_eq!(wanted(&["elasticsearch.real=true"]), []);
    assert_eq!(wanted(&["elasticsearch.real=true", "logger.enabled=true"]), [Program::Elasticsearch]);
    assert_eq!(
        wanted(&["elasticsearch.enabled=true", "elasticsearch.real=true", "prometheus.enabled=true"]),
        [Program::Elasticsearch, Program::Prometheus]
    );
    assert_eq!(wanted(&["cassandra.enabled=true"]), [Program::Cassandra]);
    assert_eq!(wanted(&["cassandra.enabled=true", "cassandra.contactPoints=there:9042"]), []);
    assert_eq!(wanted(&["gateway.kind=haproxy"]), [Program::Haproxy]);
}
