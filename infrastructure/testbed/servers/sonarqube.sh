# shellcheck shell=bash
SUMMARY='SonarQube Community Build with its scanner, H2 inside'
# The last release line for Java 17.
VERSION=25.12.0.117093
PORTS=(http=29500 search=29501)
# 80 s on a quiet machine of two cores.
START_SECONDS=900
STOP_SECONDS=60

readonly SCANNER=8.1.0.6389
# The analysers of languages not used here take a third of the disk and of the start.
readonly OTHER_LANGUAGES='csharp vbnet flex go jacoco java java-symbolic-execution javascript kotlin php python ruby scala'

install() { once install_sonarqube; }
install_sonarqube() {
    local home=sonarqube-$VERSION excludes language
    need_java java
    need_command mvn maven
    excludes="$home/jres/*mac*,$home/jres/*windows*,$home/jres/*alpine*"
    for language in $OTHER_LANGUAGES; do excludes+=",$home/lib/extensions/sonar-$language-plugin-*"; done
    maven "$MAVEN_DEPENDENCY:unpack" "-Dmaven.repo.local=$STAGE/m2" \
        "-Dartifact=org.sonarsource.sonarqube:sonar-application:$VERSION:zip" \
        "-Dmdep.unpack.excludes=$excludes" "-DoutputDirectory=$STAGE"
    maven "$MAVEN_DEPENDENCY:copy" "-Dmaven.repo.local=$STAGE/m2" \
        "-Dartifact=org.sonarsource.scanner.cli:sonar-scanner-cli:$SCANNER" "-DoutputDirectory=$STAGE"
    mv "$STAGE/$home"/* "$STAGE"
    mv "$STAGE/sonar-scanner-cli-$SCANNER.jar" "$STAGE/scanner.jar"
    rm -rf "$STAGE/m2" "${STAGE:?}/$home"
    [[ -f $STAGE/lib/sonar-application-$VERSION.jar ]] ||
        fail "$FAILED" "sonarqube: the archive does not hold lib/sonar-application-$VERSION.jar: $(ls "$STAGE")"
}

configure() {
    local home=$DIR/home
    # It runs as another user, who cannot read an installation below /root: links beside its data, or a copy if
    # necessary.
    rm -rf "${home:?}"
    cp -al "$INSTALL" "$home" 2>/dev/null || cp -a "$INSTALL/." "$home"
    # Folders that it writes to; files there would belong to the installation.
    rm -rf "${home:?}/conf" "$home/extensions"
    mkdir -p "$home/conf" "$home/extensions/plugins" "$home/extensions/downloads" "$DIR/tmp" "$DIR/logs"
    cat >"$home/conf/sonar.properties" <<EOC
sonar.web.host=$ADDRESS
sonar.web.port=${PORT[http]}
sonar.search.host=$ADDRESS
sonar.search.port=${PORT[search]}
sonar.path.data=$DATA
sonar.path.temp=$DIR/tmp
sonar.path.logs=$DIR/logs
sonar.log.console=true
sonar.telemetry.enable=false
sonar.updatecenter.activate=false
sonar.web.javaOpts=-Xmx${TESTBED_SONARQUBE_HEAP:-384m} -Xms128m
sonar.ce.javaOpts=-Xmx${TESTBED_SONARQUBE_HEAP:-384m} -Xms128m
sonar.search.javaOpts=-Xmx${TESTBED_SONARQUBE_HEAP:-384m} -Xms${TESTBED_SONARQUBE_HEAP:-384m}
sonar.search.javaAdditionalOpts=-Dnode.store.allow_mmap=false
EOC
    secret administrator >/dev/null
    give_to_unprivileged "$home/conf" "$home/extensions" "$DATA" "$DIR/tmp" "$DIR/logs"
    # It only passes through.
    chmod 711 "$DIR"
}

# Its embedded Elasticsearch does not run as root. Java is named by its real path: it starts three more of it.
start() {
    local java
    local -a as_user=()
    java=$(readlink -f "$(command -v java)")
    ((EUID != 0)) || as_user=(setpriv --reuid "$UNPRIVILEGED" --regid nogroup --clear-groups)
    launch "${as_user[@]}" env --chdir="$DIR/home" HOME="$DIR/tmp" SONAR_JAVA_PATH="$java" \
        "$java" -Xmx64m -jar "lib/sonar-application-$VERSION.jar"
}

# A password that satisfies its policy: letters of both cases, a digit and a symbol.
password() { printf '%s-Aa1\n' "$(secret administrator)"; }

# as USER PASSWORD PATH [CURL OPTION…]: the answer; the password is not in any process's arguments.
as() {
    local user=$1 password=$2 path=$3
    shift 3
    http_get "${PORT[http]}" "$path" --max-time 10 --config <(printf 'user = "%s:%s"\n' "$user" "$password") "$@"
}

# A nearly full disk is the machine's problem, not a reason to leave shards unallocated. This can only be set on the
# embedded Elasticsearch, as soon as it answers: SonarQube passes no such setting on.
ignore_full_disk() {
    http_get "${PORT[search]}" /_cluster/settings --request PUT --header 'Content-Type: application/json' \
        --data '{"persistent": {"cluster.routing.allocation.disk.threshold_enabled": false}}' >/dev/null
}

# Ready once it is up and its administrator has this testbed's password instead of the default one.
ready() {
    ignore_full_disk || return
    http_get "${PORT[http]}" /api/system/status | grep -q '"status":"UP"' || return
    if as admin "$(password)" /api/authentication/validate | grep -q '"valid":true'; then return; fi
    as admin admin /api/users/change_password --data login=admin --data previousPassword=admin \
        --data-urlencode password@<(printf %s "$(password)") >/dev/null
}

settings() {
    printf '%s\n' "SONAR_HOST_URL=http://$ADDRESS:${PORT[http]}" "SONAR_PASSWORD=$(password)" "SONAR_SCANNER=$INSTALL/scanner.jar"
}
