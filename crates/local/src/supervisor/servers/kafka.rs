//! Apache Kafka: one broker that is its own controller (`KRaft`), without a `ZooKeeper` and without security.

use std::{io, path::Path, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::RDKafkaErrorCode,
};
use tokio::net::TcpStream;

use super::{Launch, NotServing, Spec};
use crate::paths::write_private;

/// The controller's port, in addition to the one for clients.
pub(super) const CONTROLLER_PORT: u16 = 9093;
/// Partitions of each topic, as in the embedded one.
const PARTITIONS: i32 = 3;
const HEAP: &str = "-Xmx256m";
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);

/// The store is formatted before the first start; after a crash it already exists. The arguments are java, class path,
/// configuration, cluster ID and log configuration.
const SCRIPT: &str = r#"set -e
flags="-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile=$5"
[ -f data/meta.properties ] ||
    "$1" $flags -Xmx128m -cp "$2" kafka.tools.StorageTool format --cluster-id "$4" --config "$3" >/dev/null
exec "$1" $flags "$6" -XX:MaxDirectMemorySize=64m -cp "$2" kafka.Kafka "$3""#;

pub(super) fn prepare(spec: &Spec, folder: &Path, run: uuid::Uuid) -> io::Result<Launch> {
    let (config, log) = (folder.join("server.properties"), folder.join("log4j2.xml"));
    write_private(&config, properties(spec))?;
    write_private(&log, LOG)?;
    let jars = ["libs", "lib"].map(|name| spec.found.home.join(name));
    let jars = jars.iter().find(|jars| jars.is_dir()).unwrap_or(&jars[0]);
    // 16 bytes as base64; any letters and digits do.
    let cluster: String = run.simple().to_string().chars().take(22).collect();
    let arguments = vec![
        "-c".into(),
        SCRIPT.into(),
        "kafka".into(),
        spec.found.executable.clone().into_os_string(),
        jars.join("*").into_os_string(),
        config.into_os_string(),
        cluster.into(),
        // Relative to its working directory, since it becomes part of an argument.
        "log4j2.xml".into(),
        HEAP.into(),
    ];
    Ok(Launch {
        program: "/bin/sh".into(),
        arguments,
        environment: Vec::new(),
        directory: Some(folder.to_owned()),
    })
}

fn properties(spec: &Spec) -> String {
    let (clients, controller) = (spec.address(), format!("{}:{CONTROLLER_PORT}", spec.ip));
    format!(
        "\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://{clients},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{clients}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=data
log.retention.bytes=2147483648
num.partitions={PARTITIONS}
auto.create.topics.enable=true
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=1
num.io.threads=2
background.threads=1
log.cleaner.dedupe.buffer.size=2097152
"
    )
}

/// The root cause of a trace and the next lines: the last lines of the output say why it ended.
const LOG: &str = r#"<Configuration status="ERROR">
  <Appenders><Console name="stdout"><PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n%rEx{4}"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="stdout"/></Root></Loggers>
</Configuration>
"#;

/// The first time by creating its topics, which clients wait for; then by a connection.
pub(super) async fn ask(spec: &Spec, first: bool) -> Result<(), NotServing> {
    drop(TcpStream::connect(spec.address()).await?);
    if first { create_topics(spec).await } else { Ok(()) }
}

async fn create_topics(spec: &Spec) -> Result<(), NotServing> {
    let client: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", spec.address().to_string()).create()?;
    let topics = spec.topics.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)));
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let options = AdminOptions::new().request_timeout(Some(CREATE_TIMEOUT));
    for created in client.create_topics(&topics, &options).await? {
        match created {
            // It exists after a restart.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => return Err(NotServing::Topic { topic, error }),
        }
    }
    Ok(())
}
