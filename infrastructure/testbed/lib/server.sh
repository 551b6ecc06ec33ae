# shellcheck shell=bash
# The life cycle of one server, the same for all. Differences are in servers/NAME.sh, which declares
#
#   SUMMARY VERSION PORTS      one line, the pinned version (or Debian series), (name=default …)
#   NEEDS                      servers that must run too, and are started with it: NEEDS='kubernetes'
#   START_SECONDS STOP_SECONDS how long it may take to serve and to end (default 60 and 20)
#   install                    installs it; does nothing if it is installed
#   configure                  writes $CONF from $PORT, $ADDRESS and secrets; creates $DATA if necessary
#   start                      calls `launch COMMAND…` once
#   ready                      one question that only a serving server answers
#   settings                   NAME=VALUE lines for services
#   before_end, after_end      what `down` does besides ending its processes; `restart` does only the first
#   version, program           the installed version; the path of its program, if it has its own

server_names() {
    local path
    for path in "$TESTBED"/servers/*.sh; do basename "$path" .sh; done
}

# server_load NAME: call it in its own subshell.
server_load() {
    NAME=$1
    START_SECONDS=60 STOP_SECONDS=20
    # shellcheck disable=SC2317 # defaults that the file may replace
    version() { printf '%s\n' "$VERSION"; }
    # shellcheck disable=SC2317
    program() { fail "$USAGE" "$NAME has no program of its own to run"; }
    # shellcheck disable=SC2317
    before_end() { :; }
    # shellcheck disable=SC2317
    after_end() { :; }
    # shellcheck source=/dev/null
    source "$TESTBED/servers/$NAME.sh"
    DIR=$STATE/$NAME CONF=$STATE/$NAME/conf DATA=$STATE/$NAME/data
    PIDFILE=$DIR/pid LOG=$STATE/log/$NAME.log INSTALL=$CACHE/$NAME-$VERSION
    load_ports
}

server_list() { printf '%-14s %-9s %-38s %s\n' "$NAME" "$VERSION" "${PORTS[*]}" "$SUMMARY"; }

server_install() {
    install
    note "$NAME: $(version) is installed"
}

server_path() {
    install
    program
}

server_up() {
    local begin=${EPOCHREALTIME/./}
    if alive; then
        [[ -z $FRESH ]] || fail "$USAGE" "$NAME is running; for an empty one: testbed restart --fresh $NAME"
        await_ready
        note "$NAME: already up, pid $PID, $(ports_in_words)"
        return
    fi
    # Left by a leader that was killed: they would hold its ports and data.
    kill_session || fail "$BRING_UP_FAILED" "$NAME: processes of its last run do not end: $(members | tr '\n' ' ')"
    install
    [[ -z $FRESH ]] || rm -rf "${DIR:?}"
    mkdir -p "$CONF" "$DATA"
    claim_ports
    configure
    start
    await_ready
    note "$NAME: up in $(((${EPOCHREALTIME/./} - begin) / 1000)) ms, pid $PID, $(ports_in_words)"
}

# await_ready: returns when the server serves; ends it and fails if it dies or takes too long.
await_ready() {
    local deadline=$((SECONDS + START_SECONDS)) reason=''
    until ready >/dev/null; do
        if ! alive; then
            reason='it ended'
        elif ((SECONDS >= deadline)); then
            reason="it does not serve after $START_SECONDS s"
        else
            sleep 0.1
            continue
        fi
        kill_session || :
        tail -n 20 "$LOG" >&2 2>/dev/null || :
        fail "$BRING_UP_FAILED" "$NAME: $reason; the end of $LOG is above"
    done
    if ! alive || ! owns_ports; then
        fail "$BRING_UP_FAILED" "$NAME: another process answers on its ports ($(ports_in_words))"
    fi
}

ports_in_words() {
    local name words=''
    for name in $(printf '%s\n' "${!PORT[@]}" | sort); do words+=", $name $ADDRESS:${PORT[$name]}"; done
    printf '%s\n' "${words#, }"
}

server_status() {
    if alive && ready >/dev/null; then
        printf '%-14s %-6s %-9s pid %-8s %5s MB  %s\n' "$NAME" up "$(version)" "$PID" "$(resident_mb)" "$(ports_in_words)"
    elif alive; then
        printf '%-14s %-6s pid %s, does not answer; see %s\n' "$NAME" ill "$PID" "$LOG"
        return "$FAILED"
    elif [[ -f $PIDFILE ]]; then
        printf '%-14s %-6s by itself; see %s\n' "$NAME" ended "$LOG"
        return "$FAILED"
    elif [[ -d $DATA ]]; then
        printf '%-14s %-6s with its data kept\n' "$NAME" down
    else
        printf '%-14s %s\n' "$NAME" down
    fi
}

# Only results on stdout, for eval. Without names, all running servers.
server_env() {
    local line
    if ! alive; then
        ((NAMED > 0)) || return 0
        fail "$FAILED" "$NAME is not running: testbed up $NAME"
    fi
    while IFS= read -r line; do
        printf 'export %s=%q\n' "${line%%=*}" "${line#*=}"
    done < <(settings)
}

server_restart() {
    alive || fail "$FAILED" "$NAME is not running: testbed up $NAME"
    before_end
    terminate "$STOP_SECONDS" || left_something
    server_up
}

server_kill() {
    alive || fail "$FAILED" "$NAME is not running"
    kill_session || left_something
    rm -f "$PIDFILE"
    note "$NAME: killed, its data are kept"
}

server_down() {
    local word='its data are removed'
    if [[ ! -d $DIR ]]; then
        note "$NAME: down already"
        return
    fi
    ! alive || before_end
    terminate "$STOP_SECONDS" || left_something
    rm -f "$PIDFILE"
    after_end
    if [[ -n $KEEP_DATA ]]; then
        word='its data are kept'
    else
        rm -rf "${DIR:?}"
    fi
    note "$NAME: down, no process is left, $word"
}

left_something() { fail "$TEARDOWN_LEFT_SOMETHING" "$NAME: these processes do not end: $(ps -o pid=,stat=,args= -p "$(members | paste -sd,)")"; }
