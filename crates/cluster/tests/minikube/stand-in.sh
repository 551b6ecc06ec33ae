#!/usr/bin/env -S --default-signal=INT sh
# Stands in for minikube. The calls are numbered. Call N must have the arguments in N.args, one a line; it prints N.out and
# N.err and ends with N.status. With N.stay it makes the file `stays` and runs until it is told to end, as a tunnel does.
# What was not expected is noted in `wrong`, and fails. The tests may be run with SIGINT ignored, as a script ignores it
# for what it runs in the background, and a shell that inherits that never hears of it.
here=$(dirname "$0")
n=$(cat "$here/next")
echo $((n + 1)) >"$here/next"
given=$(for argument in "$@"; do printf '%s\n' "$argument"; done)
if [ ! -f "$here/$n.args" ] || [ "$given" != "$(cat "$here/$n.args")" ]; then
    printf 'call %s: %s\n' "$n" "$*" >>"$here/wrong"
    echo "the stand-in did not expect: $*" >&2
    exit 99
fi
if [ -f "$here/$n.environment" ]; then
    env | grep -Fx "$(cat "$here/$n.environment")" >/dev/null || printf 'call %s: the environment\n' "$n" >>"$here/wrong"
fi
cat "$here/$n.out"
cat "$here/$n.err" >&2
if [ -f "$here/$n.stay" ]; then
    trap 'echo ended >>"$here/ended"; exit 0' INT TERM
    : >"$here/stays"
    while :; do sleep 0.1; done
fi
exit "$(cat "$here/$n.status")"
