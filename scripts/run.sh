#!/usr/bin/env bash
# Runs the release binary.
#
#   scripts/run.sh serve [FLAG...]   the whole system on ${DATA:-./data}; DEMO=1 adds a workload
#   scripts/run.sh demo [FLAG...]    the workload alone, into a server that is running

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary="$TARGET/release/spandrel"

# Reads the server's `listening NAME HOST:PORT` and `ready` lines and says what they mean. Ends when
# the server closes its standard output, and takes the workload with it.
announce() {
    trap '' INT TERM # Ctrl-C is for the server, which drains; its last lines still arrive here
    local line word name address workload=''
    declare -A at
    while IFS= read -r line; do
        read -r word name address <<<"$line"
        case "$word" in
            listening) at[$name]="$address" ;;
            ready)
                say "Spandrel is ready; Ctrl-C stops it"
                note "web UI      http://${at[http]:-?}"
                note "OTLP/gRPC   http://${at[otlp-grpc]:-?}   (OTEL_EXPORTER_OTLP_ENDPOINT, protocol grpc)"
                note "OTLP/HTTP   http://${at[otlp-http]:-?}   (OTEL_EXPORTER_OTLP_ENDPOINT, protocol http/protobuf)"
                note "data        $data"
                if [[ "${DEMO:-}" == 1 ]]; then
                    (
                        trap - INT TERM
                        exec "$binary" demo --endpoint "http://${at[otlp-grpc]}" >&2
                    ) &
                    workload=$!
                    note "a live workload flows in (DEMO=1)"
                else
                    note "nothing to look at yet? \`make demo\` in a second shell"
                fi
                ;;
            *) printf '%s\n' "$line" ;;
        esac
    done
    if [[ -n "$workload" ]]; then kill "$workload" 2>/dev/null || true; fi
}

command="${1:-}"
[[ "$command" =~ ^(serve|demo)$ ]] || die "scripts/run.sh serve, or scripts/run.sh demo"
shift
[[ -x "$binary" ]] || die "$binary is missing; \`make build\` makes it"
cd "$ROOT"
if [[ "$command" == serve ]]; then
    data="${DATA:-./data}"
    exec "$binary" serve --data-dir "$data" "$@" > >(announce)
fi
exec "$binary" demo "$@"
