//! Apache Cassandra: one node, sized for this machine, without security.

use std::{io, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Launch, NotServing, Spec};
use crate::paths::write_private;

/// For other nodes; there are none.
pub(super) const STORAGE_PORT: u16 = 7000;
const HEAP: [&str; 5] =
    ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:MaxDirectMemorySize=128m"];
/// The request for its options (opcode 5) in version 4 of its protocol, and the start of the answer (opcode 6).
const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];
const SUPPORTED: [u8; 5] = [0x84, 0, 0, 0, 6];

/// What its own start script adds for Java 17: it accesses the JDK's internals.
const EXPORTED: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.util",
    "java.base/java.lang.ref",
    "java.base/sun.nio.ch",
    "java.sql/java.sql",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
];
const OPENED: [&str; 17] = [
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/sun.nio.ch",
    "java.rmi/sun.rmi.transport.tcp",
    "jdk.management/com.sun.management.internal",
];

pub(super) fn prepare(spec: &Spec, folder: &Path) -> io::Result<Launch> {
    let (config, log) = (folder.join("cassandra.yaml"), folder.join("logback.xml"));
    write_private(&config, settings(spec, folder))?;
    write_private(&log, LOG)?;
    let lib = spec.found.home.join("lib");
    let mut words: Vec<String> = Vec::new();
    words.extend(EXPORTED.map(|package| format!("--add-exports={package}=ALL-UNNAMED")));
    words.extend(OPENED.map(|package| format!("--add-opens={package}=ALL-UNNAMED")));
    // It measures its objects with an agent.
    words.push(format!("-javaagent:{}", agent(&lib)?));
    words.extend(HEAP.map(str::to_owned));
    words.push("-Djdk.attach.allowAttachSelf=true".to_owned());
    words.push(format!("-Dcassandra.config=file://{}", config.display()));
    words.push(format!("-Dlogback.configurationFile=file://{}", log.display()));
    words.push(format!("-Dcassandra.storagedir={}", folder.join("data").display()));
    // A single node has nobody to wait for.
    words.extend(
        [
            "-Dcassandra-foreground=yes",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=1",
            "-Dcassandra.superuser_setup_delay_ms=0",
            "-Djava.net.preferIPv4Stack=true",
        ]
        .map(str::to_owned),
    );
    words.extend(["-cp".to_owned(), format!("{}:{}/*", folder.display(), lib.display())]);
    words.push("org.apache.cassandra.service.CassandraDaemon".to_owned());
    Ok(Launch {
        program: spec.found.executable.clone(),
        arguments: words.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        directory: Some(folder.to_owned()),
    })
}

fn agent(lib: &Path) -> io::Result<String> {
    for entry in std::fs::read_dir(lib)? {
        let path = entry?.path();
        let is_jamm = path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("jamm-"));
        if is_jamm && path.extension().is_some_and(|extension| extension == "jar") {
            return Ok(path.display().to_string());
        }
    }
    let message = format!("{} has no jamm-….jar, which Cassandra needs", lib.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

fn settings(spec: &Spec, folder: &Path) -> String {
    let (ip, port, folder) = (spec.ip, spec.port, folder.display());
    format!(
        "\
cluster_name: playctl
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: SimpleSnitch
seed_provider: [{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: \"{ip}:{STORAGE_PORT}\"}}]}}]
listen_address: {ip}
storage_port: {STORAGE_PORT}
rpc_address: {ip}
start_native_transport: true
native_transport_port: {port}
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
data_file_directories: [{folder}/data/data]
commitlog_directory: {folder}/data/commitlog
hints_directory: {folder}/data/hints
saved_caches_directory: {folder}/data/saved_caches
cdc_raw_directory: {folder}/data/cdc_raw
# Written at once, flushed to the disk every 10 s: a killed process loses nothing, a power cut might.
commitlog_sync: periodic
commitlog_sync_period: 10000ms
auto_snapshot: false
commitlog_segment_size: 4MiB
memtable_heap_space: 32MiB
memtable_offheap_space: 32MiB
file_cache_size: 16MiB
key_cache_size: 2MiB
row_cache_size: 0MiB
concurrent_reads: 4
concurrent_writes: 4
concurrent_counter_writes: 2
native_transport_max_threads: 8
"
    )
}

/// The root cause of a trace and the next lines, as for Kafka.
const LOG: &str = r#"<configuration>
  <appender name="stdout" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %-5level %logger{0} %msg%n%rEx{4}</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="stdout"/></root>
</configuration>
"#;

pub(super) async fn ask(spec: &Spec) -> Result<(), NotServing> {
    Ok(options(&spec.address().to_string()).await?)
}

/// Asks a node for its options, which a serving one sends to anybody.
async fn options(address: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&OPTIONS).await?;
    let mut answer = [0; SUPPORTED.len()];
    stream.read_exact(&mut answer).await?;
    if answer == SUPPORTED {
        return Ok(());
    }
    let message = format!("answered {answer:02x?} to a question of Cassandra's protocol");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}
