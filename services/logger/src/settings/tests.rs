use super::*;

const LEAST: [(&str, &str); 2] =
    [("KAFKA_BROKERS", "kafka:9092"), ("ELASTICSEARCH_ENDPOINT", "http://es:9200")];

fn read(more: &[(&str, &str)]) -> Result<Settings, Invalid> {
    Settings::from_env(&LEAST.iter().chain(more).copied().collect())
}

#[test]
fn only_kafka_and_elasticsearch_must_be_set() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.kafka.logging_topic, "general-logs");
    assert_eq!(settings.group, "logger");
    assert_eq!(settings.record_age_max, Duration::from_hours(7 * 24));
    assert_eq!(settings.bulk_bytes, 2 * 1024 * 1024);
    assert_eq!(settings.elasticsearch.index_prefix, "general-logs");
}

#[test]
fn every_bad_variable_is_named() {
    let env: Env = [
        ("KAFKA_DEAD_LETTER_TOPIC", "a b"),
        ("ELASTICSEARCH_URL", "ftp://es"),
        ("ELASTICSEARCH_INDEX", "Logs"),
        ("ELASTICSEARCH_USER", "me"),
        ("ELASTICSEARCH_CA_FILE", "/nowhere/ca.pem"),
        ("KAFKA_SESSION_TIMEOUT", "1s"),
        ("BULK_BYTES", "1"),
        ("BULKS_IN_FLIGHT", "65"),
        ("DRAIN_TIMEOUT", "soon"),
    ]
    .into_iter()
    .collect();
    let invalid = Settings::from_env(&env).unwrap_err();
    let named: Vec<_> = invalid.0.iter().map(|problem| problem.variable).collect();
    assert_eq!(
        named,
        [
            "KAFKA_BROKERS",
            "KAFKA_DEAD_LETTER_TOPIC",
            "ELASTICSEARCH_URL",
            "ELASTICSEARCH_INDEX",
            "ELASTICSEARCH_PASSWORD",
            "ELASTICSEARCH_CA_FILE",
            "KAFKA_SESSION_TIMEOUT",
            "BULK_BYTES",
            "BULKS_IN_FLIGHT",
            "DRAIN_TIMEOUT",
        ]
    );
}

#[test]
fn newer_names_are_aliases_and_must_not_contradict() {
    let pairs = [
        ("ELASTICSEARCH_ENDPOINT", "ELASTICSEARCH_URL", "http://a:1", "http://b:2"),
        ("ELASTICSEARCH_LOGGING_INDEX", "ELASTICSEARCH_INDEX", "a", "b"),
        ("ELASTICSEARCH_USERNAME", "ELASTICSEARCH_USER", "a", "b"),
        ("IGNORE_MESSAGES_BEFORE", "MAX_RECORD_AGE", "30", "60"),
    ];
    for (name, alias, one, other) in pairs {
        let read = |more: &[(&str, &str)]| {
            let least: Env =
                [("KAFKA_BROKERS", "kafka:9092"), ("ELASTICSEARCH_PASSWORD", "p")].into_iter().collect();
            let least = if name == "ELASTICSEARCH_ENDPOINT" {
                least
            } else {
                least.with("ELASTICSEARCH_URL", "http://es:9200")
            };
            let least =
                if name == "ELASTICSEARCH_USERNAME" { least } else { least.with("ELASTICSEARCH_USER", "me") };
            Settings::from_env(&more.iter().fold(least, |env, (name, value)| env.with(*name, *value)))
        };
        let set = |setting| format!("{:?}", read(&[(setting, one)]).unwrap());
        assert_eq!(set(name), set(alias), "{alias}");
        assert_ne!(set(name), format!("{:?}", read(&[(name, other)]).unwrap()), "{name}");
        assert_eq!(set(name), format!("{:?}", read(&[(name, one), (alias, one)]).unwrap()));
        let problem = &read(&[(name, one), (alias, other)]).unwrap_err().0[0];
        assert_eq!(problem.variable, alias);
        assert!(problem.expected.contains(name), "{problem}");
        assert_eq!(problem.value, other, "the value is shown");
    }
    let secret = [("ELASTICSEARCH_ENDPOINT", "http://a"), ("ELASTICSEARCH_URL", "http://me:hunter2@b")];
    assert!(!read(&secret).unwrap_err().to_string().contains("hunter2"));
    for alias in ["60", "1m", "60s"] {
        let settings = read(&[("IGNORE_MESSAGES_BEFORE", "60"), ("MAX_RECORD_AGE", alias)]).unwrap();
        assert_eq!(settings.record_age_max, Duration::from_mins(1), "{alias} is the same");
    }
    let invalid = read(&[("ELASTICSEARCH_ENDPOINT", ""), ("ELASTICSEARCH_URL", "ftp://es")]).unwrap_err();
    assert_eq!(invalid.0[0].variable, "ELASTICSEARCH_URL", "the message names the variable that was set");
}

#[test]
fn certificates_are_verified_unless_told_otherwise() {
    assert_eq!(read(&[]).unwrap().elasticsearch.trust, Trust::Usual);
    assert_eq!(read(&[("ELASTICSEARCH_INSECURE", "true")]).unwrap().elasticsearch.trust, Trust::Everything);
    let both = [("ELASTICSEARCH_INSECURE", "true"), ("ELASTICSEARCH_CA_FILE", "ca.pem")];
    assert_eq!(read(&both).unwrap_err().0[0].variable, "ELASTICSEARCH_INSECURE");
}

#[test]
fn dead_letters_need_another_topic() {
    let invalid = read(&[("KAFKA_DEAD_LETTER_TOPIC", "general-logs")]).unwrap_err().to_string();
    assert!(invalid.contains("another topic than KAFKA_LOGGING_TOPIC"), "{invalid}");
}

#[test]
fn secrets_are_neither_taken_from_the_url_nor_printed() {
    let invalid = read(&[("ELASTICSEARCH_ENDPOINT", "http://me:hunter2@es:9200")]).unwrap_err().to_string();
    assert!(invalid.contains("ELASTICSEARCH_PASSWORD") && !invalid.contains("hunter2"), "{invalid}");
    let settings = read(&[("ELASTICSEARCH_USER", "me"), ("ELASTICSEARCH_PASSWORD", "hunter2")]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let settings = read(&[("ELASTICSEARCH_API_KEY", "hunter2")]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let both =
        [("ELASTICSEARCH_API_KEY", "k"), ("ELASTICSEARCH_USER", "me"), ("ELASTICSEARCH_PASSWORD", "p")];
    let invalid = read(&both).unwrap_err().to_string();
    assert!(invalid.contains("ELASTICSEARCH_API_KEY"), "{invalid}");
}

#[test]
fn every_variable_is_listed_once_and_described() {
    let mut names: Vec<_> = Settings::VARIABLES.iter().map(|variable| variable.name).collect();
    assert!(Settings::VARIABLES.iter().all(|variable| variable.meaning.ends_with('.')));
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn the_document_has_every_variable_with_its_default() {
    let document = include_str!("../../../../docs/logger.md");
    for variable in Settings::VARIABLES {
        let default = variable.default.map_or(String::new(), |default| format!("`{default}` "));
        let row = format!("| `{}` | {default}|", variable.name);
        assert!(document.contains(&row), "docs/logger.md has no row that begins with {row}");
    }
}
