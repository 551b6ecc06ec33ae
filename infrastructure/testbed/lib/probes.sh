# shellcheck shell=bash
# Questions that only a serving server answers. Each fails quietly: the caller retries until its deadline.

# http_get PORT PATH [CURL OPTION…]: the body; fails unless 2xx within 2 s.
http_get() {
    local url=http://$ADDRESS:$1$2
    shift 2
    curl --silent --fail --max-time 2 --noproxy '*' "$@" "$url"
}

# ask PORT BYTES COUNT: sends bytes (printf escapes), prints the first COUNT bytes of the answer in hex. 2 s.
ask() {
    # shellcheck disable=SC2016 # expanded by the inner bash
    timeout 2 bash -c '
        exec 3<>"/dev/tcp/$1/$2" && printf "$3" >&3 && head -c "$4" <&3 | od -An -v -tx1 | tr -d " \n"
    ' ask "$ADDRESS" "$@" 2>/dev/null
}

# says PORT BYTES HEX: whether the answer starts with these bytes.
says() {
    local answer
    answer=$(ask "$1" "$2" $((${#3} / 2))) && [[ $answer == "$3" ]]
}

hex() { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }
