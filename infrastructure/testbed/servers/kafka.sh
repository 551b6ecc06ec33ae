# shellcheck shell=bash
SUMMARY='Apache Kafka, one KRaft broker: PLAINTEXT and SASL/PLAIN'
VERSION=4.1.0
PORTS=(plain=29092 controller=29093 sasl=29094)
readonly LOG4J=2.24.3 SASL_USER=playctl

install() { once install_jars; }
install_jars() {
    maven_jars "org.apache.kafka:kafka_2.13:$VERSION" "org.apache.kafka:kafka-tools:$VERSION" \
        "org.apache.logging.log4j:log4j-slf4j-impl:$LOG4J"
}

configure() {
    cat >"$CONF/server.properties" <<EOC
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@$ADDRESS:${PORT[controller]}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners=PLAINTEXT://$ADDRESS:${PORT[plain]},CONTROLLER://$ADDRESS:${PORT[controller]},SASL_PLAINTEXT://$ADDRESS:${PORT[sasl]}
advertised.listeners=PLAINTEXT://$ADDRESS:${PORT[plain]},SASL_PLAINTEXT://$ADDRESS:${PORT[sasl]}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$SASL_USER="$(secret sasl-password)";
log.dirs=$DATA
log.retention.bytes=2147483648
num.partitions=3
auto.create.topics.enable=true
# One broker: Kafka's internal topics have one copy.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A test's consumer group gets its partitions at once; in production, 3 s let the group assemble first.
group.initial.rebalance.delay.ms=0
# Sized for two cores.
num.network.threads=1
num.io.threads=2
background.threads=1
log.cleaner.dedupe.buffer.size=2097152
EOC
    cat >"$CONF/log4j2.xml" <<'EOC'
<Configuration status="ERROR">
  <Appenders><Console name="stdout"><PatternLayout pattern="%d{ISO8601} %p %c{1} %m%n"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="stdout"/></Root></Loggers>
</Configuration>
EOC
    [[ -f $DATA/meta.properties ]] || format
}

format() {
    kafka_java -Xmx128m kafka.tools.StorageTool format --cluster-id "$(secret cluster-id | cut -c1-22)" \
        --config "$CONF/server.properties" >"$STATE/log/kafka-format.log" 2>&1 ||
        fail "$BRING_UP_FAILED" "kafka: formatting $DATA failed: $(tail -n 5 "$STATE/log/kafka-format.log")"
}

kafka_java() {
    "${LAUNCH[@]}" java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "-Dlog4j2.configurationFile=$CONF/log4j2.xml" \
        -cp "$INSTALL/lib/*" "$@"
}

start() {
    LAUNCH=(launch)
    kafka_java -Xms64m "-Xmx${TESTBED_KAFKA_HEAP:-256m}" -XX:MaxDirectMemorySize=64m kafka.Kafka "$CONF/server.properties"
}

# Both listeners answer ApiVersions (key 18, version 0, correlation ID 1, client "tb"), which Kafka allows before
# authentication. It opens them only once the broker has registered and caught up with the metadata.
ready() {
    local port
    for port in "${PORT[plain]}" "${PORT[sasl]}"; do
        [[ $(ask "$port" '\0\0\0\014\0\022\0\0\0\0\0\001\0\002tb' 10 | cut -c9-) == 000000010000 ]] || return 1
    done
}

# The password only with --sasl: a service with a password uses SASL, which the plain listener does not support.
settings() {
    if [[ -n $SASL ]]; then
        printf '%s\n' "KAFKA_BROKERS=$ADDRESS:${PORT[sasl]}" "KAFKA_SASL_USER=$SASL_USER" \
            "KAFKA_SASL_PASSWORD=$(secret sasl-password)"
    else
        printf '%s\n' "KAFKA_BROKERS=$ADDRESS:${PORT[plain]}"
    fi
}
