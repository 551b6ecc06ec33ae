# shellcheck shell=bash
# Programs built from their Go modules, or taken from an archive of such builds.

# archive FOLDER PATTERN…: extracts the files of FOLDER that match a pattern from the first archive in $TESTBED_CACHE
# whose name contains $ARCHIVE, into $STAGE. Fails if there is none: the caller then builds.
archive() {
    local folder=$1 path pattern
    local -a wanted=()
    shift
    [[ -n ${TESTBED_CACHE:-} ]] || return 1
    for path in "$TESTBED_CACHE"/*"$ARCHIVE"*"-linux-$(go_architecture).tar.zst"; do
        [[ -f $path ]] || continue
        for pattern in "$@"; do wanted+=("$folder/$pattern"); done
        need_command zstd zstd
        note "$NAME: unpacking $path"
        tar --zstd -x -f "$path" -C "$STAGE" --strip-components=1 --no-same-owner --wildcards "${wanted[@]}" ||
            fail "$FAILED" "$NAME: $path does not hold all of: ${wanted[*]}"
        return
    done
    return 1
}

go_architecture() {
    case $(uname -m) in
        x86_64) printf 'amd64\n' ;;
        aarch64) printf 'arm64\n' ;;
        *) uname -m ;;
    esac
}

# need_go: Debian's is too old for these modules, so it is not installed here.
need_go() {
    local found
    command -v go >/dev/null ||
        fail "$FAILED" "$NAME is built from Go modules and there is no go on PATH: install Go 1.25 or newer, or set TESTBED_CACHE"
    found=$(go env GOVERSION)
    if [[ ! $found =~ ^go1\.([0-9]+) ]] || ((BASH_REMATCH[1] < 25)); then
        fail "$FAILED" "$NAME needs Go 1.25 or newer, found $found at $(command -v go)"
    fi
    export CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOWORK=off
}

# go_build PROGRAM PACKAGE [LINKER FLAGS]: builds a package of the module in the working folder into $STAGE/bin. The
# flags are the same everywhere, so that the standard library is compiled once.
go_build() {
    note "$NAME: building $1"
    go build -mod=mod -trimpath -ldflags "-s -w ${3:-}" -o "$STAGE/bin/$1" "$2" >>"$STATE/log/go.log" 2>&1 ||
        fail "$FAILED" "$NAME: go build $2 failed: $(tail -n 3 "$STATE/log/go.log")"
}

# go_install PROGRAM PACKAGE@VERSION [LINKER FLAGS]
go_install() {
    note "$NAME: building $1"
    GOBIN=$STAGE/bin go install -trimpath -ldflags "-s -w ${3:-}" "$2" >>"$STATE/log/go.log" 2>&1 ||
        fail "$FAILED" "$NAME: go install $2 failed: $(tail -n 3 "$STATE/log/go.log")"
}

# go_module FIELD MODULE@VERSION: downloads it; FIELD is Dir or GoMod.
go_module() { GOFLAGS='' go mod download -json "$2" | sed -n "s/^\t\"$1\": \"\(.*\)\",*\$/\1/p"; }

# go_build_kubernetes VERSION COMMAND…: k8s.io/kubernetes replaces the modules that it shares with folders of its own
# repository, which no other module may do: a module that replaces them with their released twins (1.34.4 is 0.34.4
# there) builds the commands.
go_build_kubernetes() {
    local version=$1 command package replaced flags='' shared=v0.${1#1.}
    shift
    replaced=$(go_module GoMod "k8s.io/kubernetes@v$version")
    mkdir -p "$STAGE/src/kubernetes"
    cd "$STAGE/src/kubernetes" || return
    {
        printf 'module testbed\n\ngo 1.24.0\n\ngodebug default=go1.24\n\nrequire k8s.io/kubernetes v%s\n\nreplace (\n' "$version"
        sed -n "s#^\s*\(k8s.io/[a-z-]*\) => ./staging.*#\t\1 => \1 $shared#p" "$replaced"
        printf ')\n'
    } >go.mod
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        flags+=" -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=$(cut -d. -f2 <<<"$version")"
        flags+=" -X $package.gitCommit=v$version -X $package.gitTreeState=clean -X $package.buildDate=2026-01-01T00:00:00Z"
    done
    for command in "$@"; do go_build "$command" "k8s.io/kubernetes/cmd/$command" "$flags"; done
}
