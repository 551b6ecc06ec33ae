# shellcheck shell=bash
# Where things are kept. Installations can be thrown away and made again; state belongs to one running testbed.
#
#   $CACHE/NAME-VERSION    an installation, whole or not there at all
#   $STATE/NAME            pid file, ports, conf/, data/, secrets/ of one server; 0700, as it holds secrets
#   $STATE/log/NAME.log    what it printed since its last start; stays after `down`

CACHE=${TESTBED_HOME:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/playctl/testbed}
if [[ -n ${TESTBED_STATE:-} ]]; then
    STATE=$TESTBED_STATE
elif ((EUID == 0)); then
    # Not below /root: Elasticsearch refuses to run as root, and the user it runs as cannot enter there.
    STATE=/var/lib/playctl/testbed
else
    STATE=${XDG_STATE_HOME:-$HOME/.local/state}/playctl/testbed
fi
ADDRESS=${TESTBED_ADDRESS:-127.0.0.1}
readonly CACHE STATE ADDRESS

# The user for servers that refuse to run as root.
readonly UNPRIVILEGED=nobody

# Configuration files are made from these values, some of them without any quoting: only plain values are accepted.
places_check() {
    local variable
    for variable in CACHE STATE; do
        [[ ${!variable} =~ ^/[A-Za-z0-9_./@+-]+$ ]] ||
            fail "$USAGE" "TESTBED_${variable/CACHE/HOME}=${!variable}: expected an absolute path of letters, digits and _./@+-"
    done
    [[ $ADDRESS =~ ^127(\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}$ ]] ||
        fail "$USAGE" "TESTBED_ADDRESS=$ADDRESS: expected an address of 127.0.0.0/8, as in 127.0.0.1"
}

places_with_state() {
    local name
    while read -r name; do
        [[ ! -d $STATE/$name ]] || printf '%s\n' "$name"
    done < <(server_names)
}

# State and installations may be looked into; the folders of the servers, with their secrets, may not (umask 077).
places_make() { (umask 022 && mkdir -p "$STATE" "$CACHE" "$STATE/log"); }

# give_to_unprivileged FOLDER…: hands them over, after making sure that their new owner gets there.
give_to_unprivileged() {
    ((EUID == 0)) || return 0
    setpriv --reuid "$UNPRIVILEGED" --regid nogroup --clear-groups test -x "$STATE" ||
        fail "$BRING_UP_FAILED" "user $UNPRIVILEGED, whom $NAME runs as, cannot enter $STATE: set TESTBED_STATE to a folder that all may pass through"
    chown -R "$UNPRIVILEGED:nogroup" "$@"
}
