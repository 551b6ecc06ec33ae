# shellcheck shell=bash
# Ports: chosen once for a state folder, saved, and refused with the holder's name when taken.
#
# A server file declares PORTS=(name=default name=default/udp …). The environment (TESTBED_<NAME>_<PORT>_PORT) overrides
# the default, and so do the ports saved at the first start: Kafka's data contain its own ports.

declare -A PORT=() PROTOCOL=()

# load_ports: sets PORT and PROTOCOL from the file, the environment and the defaults, in order of precedence: for a
# running server only the file counts.
load_ports() {
    local spec name value variable recorded
    for spec in "${PORTS[@]}"; do
        name=${spec%%=*} value=${spec#*=}
        PROTOCOL[$name]=tcp
        if [[ $value == */udp ]]; then PROTOCOL[$name]=udp value=${value%/udp}; fi
        recorded=$(sed -n "s/^$name=//p" "$DIR/ports" 2>/dev/null) || :
        variable=TESTBED_${NAME^^}_${name^^}_PORT
        if alive; then
            value=$recorded
        else
            value=${!variable:-${recorded:-$value}}
            # 0 means any port: reusing the previous one keeps addresses stable.
            [[ $value != 0 || -z $recorded ]] || value=$recorded
            if [[ ! $value =~ ^[0-9]{1,5}$ ]] || ((10#$value > 65535)); then
                fail "$USAGE" "$variable=$value: expected a port, 1 to 65535, or 0 for a free one"
            fi
            value=$((10#$value))
        fi
        PORT[$name]=$value
    done
}

# claim_ports: picks the undecided ports, refuses taken ones, saves all.
claim_ports() {
    local name holder
    for name in "${!PORT[@]}"; do
        [[ ${PORT[$name]} != 0 ]] || PORT[$name]=$(free_port)
    done
    for name in "${!PORT[@]}"; do
        holder=$(port_holder "${PROTOCOL[$name]}" "${PORT[$name]}")
        [[ -z $holder ]] ||
            fail "$BRING_UP_FAILED" "$NAME: port ${PORT[$name]} ($name) is taken by $holder; choose another: TESTBED_${NAME^^}_${name^^}_PORT"
    done
    for name in "${!PORT[@]}"; do printf '%s=%s\n' "$name" "${PORT[$name]}"; done | sort >"$DIR/ports"
}

# listeners PROTOCOL PORT: ss lines of the sockets that prevent a bind to $ADDRESS.
listeners() {
    local all=-Hltnp
    [[ $1 == tcp ]] || all=-Hlunp
    ss "$all" "sport = :$2" | awk -v own="$ADDRESS:$2" -v port=":$2" '
        { address = $4 }
        address == own || address == "0.0.0.0" port || address == "*" port || address == "[::]" port ||
        address == "[::ffff:" substr(own, 1, length(own) - length(port)) "]" port'
}

listener_pids() { listeners "$@" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u || :; }

# port_holder PROTOCOL PORT: "pid 12 (memcached -u nobody …)", or nothing when the port is free.
port_holder() {
    local pid lines
    lines=$(listeners "$1" "$2")
    [[ -n $lines ]] || return 0
    for pid in $(listener_pids "$1" "$2"); do
        printf 'pid %s (%s)' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c1-80 | sed 's/ *$//')"
        return
    done
    printf 'a process of another user'
}

# An unused port, below the range that the kernel assigns to outgoing connections. PORT contains the ones just picked.
free_port() {
    local try port
    for ((try = 0; try < 200; try++)); do
        port=$((20000 + RANDOM % 12000))
        [[ " ${PORT[*]} " != *" $port "* ]] || continue
        if [[ -z $(ss -Hltun "sport = :$port") ]]; then
            printf '%s\n' "$port"
            return
        fi
    done
    fail "$BRING_UP_FAILED" "no free port found between 20000 and 32000"
}

# owns_ports: whether our processes own the sockets on our ports; ss only names processes that the caller may inspect.
owns_ports() {
    local name pid
    for name in "${!PORT[@]}"; do
        for pid in $(listener_pids "${PROTOCOL[$name]}" "${PORT[$name]}"); do
            # Not `grep -q`: it stops reading after a match, and then the end of `members` fails the pipeline.
            members | grep -x "$pid" >/dev/null || return 1
        done
    done
}
