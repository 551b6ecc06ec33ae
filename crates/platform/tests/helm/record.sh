#!/usr/bin/env bash
# Records Helm's results for the cases in cases.yaml. Needs Go, the Go module proxy and cargo; takes a minute or two.
set -euo pipefail
version=v3.22.0
here=$(cd "$(dirname "$0")" && pwd)
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
CGO_ENABLED=0 GOBIN=$bin go install -trimpath \
  -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$version" "helm.sh/helm/v3/cmd/helm@$version"
cd "$here/../.."
HELM=$bin/helm RECORD_HELM=1 cargo test -p platform --test helm -- --exact golden
