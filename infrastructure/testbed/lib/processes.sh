# shellcheck shell=bash
# Starts and ends processes, without ever signalling one that was not started here.
#
# A server is the leader of its own session. Its pid file contains "pid start-time boot": the kernel reuses a pid alone,
# but not the three together. Its children (Elasticsearch's launcher starts the real server) are found by the session,
# whose number stays taken while any member lives.

BOOT=$(</proc/sys/kernel/random/boot_id)
readonly BOOT

# process_stat PID: sets SESSION and START_TIME; fails if there is no such process. A zombie does not count: in a
# container whose init does not reap it, it may stay forever. But one with more than its own thread is still ending, and
# the others hold its ports and files (seen with Java after SIGKILL).
process_stat() {
    local line fields
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${line##*) }"
    SESSION=${fields[3]} START_TIME=${fields[19]}
    [[ ${fields[0]} != [ZX] ]] || ((fields[17] > 1))
}

# read_pid: sets PID and STARTED from the pid file; fails without one, and with one from before a reboot.
read_pid() {
    local boot
    { read -r PID STARTED boot <"$PIDFILE"; } 2>/dev/null && [[ $boot == "$BOOT" ]]
}

alive() { read_pid && process_stat "$PID" && [[ $START_TIME == "$STARTED" ]]; }

# The living processes of the server's session, one per line; they may outlive their leader.
members() {
    local path pid
    read_pid || return 0
    # The number is now another process's, so the session ended: the kernel never reuses a pid while a session has it.
    if process_stat "$PID" && [[ $START_TIME != "$STARTED" ]]; then return 0; fi
    for path in /proc/[0-9]*; do
        pid=${path#/proc/}
        if process_stat "$pid" && [[ $SESSION == "$PID" ]]; then printf '%s\n' "$pid"; fi
    done
}

# launch COMMAND…: starts the server. Its output goes to the log; the previous log stays as NAME.log.1.
launch() {
    local deadline=$((SECONDS + 10))
    mkdir -p "${LOG%/*}"
    [[ ! -f $LOG ]] || mv -f "$LOG" "$LOG.1"
    rm -f "$PIDFILE"
    raise_file_limit
    # BASHPID in the arguments of the background process would be its own, so read it before.
    (
        starter=$BASHPID
        cd "$DIR" || exit
        setsid "$TESTBED/lib/detach" "$starter" "$PIDFILE" "$@" </dev/null >"$LOG" 2>&1 &
    )
    until [[ -f $PIDFILE ]]; do
        ((SECONDS < deadline)) || fail "$BRING_UP_FAILED" "$NAME did not start within 10 s; see $LOG"
        sleep 0.01
    done
}

# As many open files as the system allows: a proxy needs two per connection. Bounded, because some programs allocate
# tables of that size and some systems allow a billion.
raise_file_limit() {
    local hard
    hard=$(ulimit -Hn)
    if [[ $hard == unlimited ]] || ((hard > 65536)); then hard=65536; fi
    ulimit -Sn "$hard"
}

# wait_until_gone SECONDS: waits for the whole session, not only its leader.
wait_until_gone() {
    local deadline=$((SECONDS + $1))
    while [[ -n $(members) ]]; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# terminate SECONDS: asks the leader to end, kills the rest after that time, and says so.
terminate() {
    if alive; then
        kill -TERM "$PID" 2>/dev/null || :
        ! wait_until_gone "$1" || return 0
        note "$NAME: still there $1 s after SIGTERM, ending it with SIGKILL"
    fi
    kill_session
}

# kill_session: SIGKILL to every member; fails if one remains after 10 s.
kill_session() {
    local left
    left=$(members)
    # shellcheck disable=SC2086 # one pid a word
    [[ -z $left ]] || kill -KILL $left 2>/dev/null || :
    wait_until_gone 10
}

# Resident memory of the session in MB.
resident_mb() {
    local pid kb total=0
    for pid in $(members); do
        kb=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status" 2>/dev/null) || :
        total=$((total + ${kb:-0}))
    done
    printf '%s\n' $((total / 1024))
}
