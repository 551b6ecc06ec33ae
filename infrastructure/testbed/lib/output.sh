# shellcheck shell=bash
# Results go to stdout, everything else to stderr, so that `eval "$(testbed env)"` and pipes see results only.

note() { printf '%s\n' "$*" >&2; }

# fail STATUS MESSAGE…: ends the (sub)shell.
fail() {
    local status=$1
    shift
    printf 'testbed: %s\n' "$*" >&2
    exit "$status"
}
