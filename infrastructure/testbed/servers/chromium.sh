# shellcheck shell=bash
SUMMARY='headless Chromium, controlled by its debugging protocol'
VERSION='*'
PORTS=(debug=29222)

# Hosted machines have Google's build of it.
install() { program >/dev/null || debian chromium chromium "$VERSION"; }
program() { program_path chromium || program_path google-chrome; }
version() { "$(program)" --version 2>/dev/null | grep -oE '[0-9.]+' | head -n 1; }
configure() { :; }

# Its sandbox needs user namespaces, which root in a container does not have; it only opens pages of this repository.
start() {
    launch "$(program)" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --metrics-recording-only \
        --user-data-dir="$DATA" --remote-debugging-address="$ADDRESS" --remote-debugging-port="${PORT[debug]}" about:blank
}

ready() { http_get "${PORT[debug]}" /json/version | grep -q webSocketDebuggerUrl; }
settings() { printf '%s\n' "CHROMIUM=http://$ADDRESS:${PORT[debug]}"; }
