#!/usr/bin/env bash
# The browser tests of ui/e2e against a real server, holding a minute of the demo's traces.
# Needs SPANDREL_BIN (see scripts/env.sh) and an installed ui/node_modules.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary="${SPANDREL_BIN:?is not set; try: eval \"\$(make -s env)\"}"
start_scratch_server "$binary"

# The demo has ended before the tests, which compare the page with the API, so that nothing changes meanwhile.
"$binary" demo --endpoint "http://${at[otlp-grpc]}" --duration 5s >&2
cd "$ROOT/ui"
SPANDREL_URL="http://${at[http]}" SPANDREL_OTLP_URL="http://${at[otlp-http]}" npm run --silent e2e
