# shellcheck shell=bash
# Where things are kept. Installations can be deleted and recreated; state belongs to one running testbed.
#
#   $CACHE/NAME-VERSION    an installation, complete or absent
#   $STATE/NAME            pid file, ports, conf/, data/, secrets/ of one server; 0700, as it holds secrets
#   $STATE/log/NAME.log    its output since the last start; stays after `down`

CACHE=${TESTBED_HOME:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/playctl/testbed}
if [[ -n ${TESTBED_STATE:-} ]]; then
    STATE=$TESTBED_STATE
elif ((EUID == 0)); then
    # Not below /root: Elasticsearch refuses to run as root, and its user cannot enter there.
    STATE=/var/lib/playctl/testbed
else
    STATE=${XDG_STATE_HOME:-$HOME/.local/state}/playctl/testbed
fi
ADDRESS=${TESTBED_ADDRESS:-127.0.0.1}
readonly CACHE STATE ADDRESS

# The user for servers that refuse to run as root.
readonly UNPRIVILEGED=nobody

# Configuration files are generated from these values, some of them without quoting: only plain values are accepted.
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

# State and installations are readable; the servers' folders, which contain secrets, are not (umask 077).
places_make() { (umask 022 && mkdir -p "$STATE" "$CACHE" "$STATE/log"); }

# give_to_unprivileged FOLDER…: hands them over, after checking that their new owner can reach them.
give_to_unprivileged() {
    ((EUID == 0)) || return 0
    setpriv --reuid "$UNPRIVILEGED" --regid nogroup --clear-groups test -x "$STATE" ||
        fail "$BRING_UP_FAILED" "$NAME runs as user $UNPRIVILEGED, who cannot enter $STATE: set TESTBED_STATE to a folder that everybody may enter"
    chown -R "$UNPRIVILEGED:nogroup" "$@"
}
