# shellcheck shell=bash
SUMMARY='Apache Cassandra, one node'
VERSION=5.0.5
PORTS=(cql=29042 storage=27000)
START_SECONDS=120
STOP_SECONDS=30

install() { once install_jars; }
install_jars() {
    local java
    maven_jars "org.apache.cassandra:cassandra-all:$VERSION"
    java=$(java_major)
    [[ $java == 17 ]] || note "cassandra: $VERSION supports Java 17, this is Java $java"
}

configure() {
    cat >"$CONF/cassandra.yaml" <<EOC
cluster_name: ${TESTBED_CASSANDRA_CLUSTER:-testbed}
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
endpoint_snitch: ${TESTBED_CASSANDRA_SNITCH:-SimpleSnitch}
seed_provider: [{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{seeds: "$ADDRESS:${PORT[storage]}"}]}]
listen_address: $ADDRESS
storage_port: ${PORT[storage]}
rpc_address: $ADDRESS
start_native_transport: true
native_transport_port: ${PORT[cql]}
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
data_file_directories: [$DATA/data]
commitlog_directory: $DATA/commitlog
hints_directory: $DATA/hints
saved_caches_directory: $DATA/saved_caches
cdc_raw_directory: $DATA/cdc_raw
# A write is acknowledged when it is on disk. With the default, a killed process loses the writes of its last 100 ms,
# which it had not synced.
commitlog_sync: batch
auto_snapshot: false
# Sized for tests on two cores.
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
EOC
    # For snitches that read where this node is.
    printf '%s\n' dc=dc1 rack=rack1 >"$CONF/cassandra-rackdc.properties"
    cat >"$CONF/logback.xml" <<'EOC'
<configuration>
  <appender name="stdout" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%d %-5level %logger{0} %msg%n</pattern></encoder></appender>
  <root level="WARN"><appender-ref ref="stdout"/></root>
</configuration>
EOC
}

# What Cassandra's own start script adds for Java 17: it accesses the JDK's internals.
java_internals() {
    local package
    for package in java.base/jdk.internal.{misc,ref,util} java.base/java.lang.ref java.base/sun.nio.ch java.sql/java.sql \
        java.management.rmi/com.sun.jmx.remote.internal.rmi java.rmi/sun.rmi.{registry,server,transport.tcp}; do
        printf '%s\n' "--add-exports=$package=ALL-UNNAMED"
    done
    for package in java.base/java.{io,lang,lang.module,lang.reflect,net,nio,util,util.concurrent,util.concurrent.atomic} \
        java.base/jdk.internal.{loader,math,module,ref,reflect,util.jar} java.base/sun.nio.ch \
        java.rmi/sun.rmi.transport.tcp jdk.management/com.sun.management.internal; do
        printf '%s\n' "--add-opens=$package=ALL-UNNAMED"
    done
}

start() {
    local -a internals jamm=("$INSTALL"/lib/jamm-*.jar)
    mapfile -t internals < <(java_internals)
    # It measures its own memory through the agent. One node has nobody to gossip with: no waiting for the ring.
    launch java "${internals[@]}" "-javaagent:${jamm[0]}" -Djdk.attach.allowAttachSelf=true \
        -Xms256m "-Xmx${TESTBED_CASSANDRA_HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxDirectMemorySize=128m \
        "-Dcassandra.config=file://$CONF/cassandra.yaml" "-Dlogback.configurationFile=file://$CONF/logback.xml" \
        "-Dcassandra.storagedir=$DATA" -Dcassandra-foreground=yes \
        -Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1 -Dcassandra.superuser_setup_delay_ms=0 \
        -Djava.net.preferIPv4Stack=true -cp "$CONF:$INSTALL/lib/*" org.apache.cassandra.service.CassandraDaemon
}

# SUPPORTED (opcode 6) answers CQL's OPTIONS (opcode 5, protocol 4).
ready() { says "${PORT[cql]}" '\004\0\0\0\005\0\0\0\0' 8400000006; }
settings() { printf '%s\n' "CASSANDRA_CONTACT_POINTS=$ADDRESS:${PORT[cql]}"; }
