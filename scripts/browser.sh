#!/usr/bin/env bash
# The browser tests of ui/e2e against a real server, holding a minute of the demo's traces.
# Needs SPANDREL_BIN (see scripts/env.sh) and an installed ui/node_modules.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PATIENCE=60 # seconds for the server to get ready

binary="${SPANDREL_BIN:?is not set; try: eval \"\$(make -s env)\"}"
work="$(mktemp -d)"
server=''
stop() {
    if [[ -n "$server" ]] && kill "$server" 2>/dev/null; then wait "$server" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap stop EXIT

mkfifo "$work/stdout"
"$binary" serve --data-dir "$work/data" --http-addr 127.0.0.1:0 --otlp-grpc-addr 127.0.0.1:0 \
    --otlp-http-addr 127.0.0.1:0 >"$work/stdout" 2>"$work/log" &
server=$!
exec 8<"$work/stdout"

declare -A at
while read -rt "$PATIENCE" -u 8 word name address; do
    if [[ "$word" == listening ]]; then at[$name]="$address"; fi
    if [[ "$word" == ready ]]; then break; fi
done
if [[ "${word:-}" != ready ]]; then
    cat "$work/log" >&2
    die "the server did not get ready (its log is above)"
fi

# A finished story: tests compare what they see with what the API says, so nothing may move meanwhile.
"$binary" demo --endpoint "http://${at[otlp-grpc]}" --duration 5s >&2
cd "$ROOT/ui"
SPANDREL_URL="http://${at[http]}" npm run --silent e2e
