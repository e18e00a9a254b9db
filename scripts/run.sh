#!/usr/bin/env bash
# Runs the release binary.
#
#   scripts/run.sh serve [FLAG...]   the whole system on ${DATA:-./data}; DEMO=1 adds a workload
#   scripts/run.sh demo [FLAG...]    the workload alone, into a server that is running

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

command="${1:-}"
[[ "$command" =~ ^(serve|demo)$ ]] || die "scripts/run.sh serve, or scripts/run.sh demo"
[[ -x "$binary" ]] || die "$binary is missing; \`make build\` makes it"
cd "$ROOT"
if [[ "$command" == demo ]]; then exec "$binary" "$@"; fi
serve "${@:2}"
