#!/usr/bin/env bash
# Tests the JSON API against its OpenAPI document: requests that query/openapi.json allows get the documented responses,
# and others are refused. Needs SPANDREL_BIN (see scripts/env.sh).

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

EXAMPLES=30  # for each operation
PATIENCE=600 # seconds for all of them

binary="${SPANDREL_BIN:?is not set; try: eval \"\$(make -s env)\"}"
requirements="$ROOT/tests/schemathesis/requirements.txt"
venv="$CACHE/schemathesis-$( { python3 --version; cat "$requirements"; } | short_hash)"

if [[ ! -f "$venv/complete" ]]; then
    say "Installing schemathesis into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
    touch "$venv/complete"
fi

start_scratch_server "$binary"
"$binary" demo --endpoint "http://${at[otlp-grpc]}" --duration 3s --seed 7 2>>"$work/log"

# Schemathesis writes files into the folder in which it runs.
cd "$work"
export SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$ROOT/tests/schemathesis" PYTHONDONTWRITEBYTECODE=1
timeout "$PATIENCE" "$venv/bin/schemathesis" --config-file "$ROOT/tests/schemathesis/schemathesis.toml" \
    run "http://${at[http]}/api/v1/openapi.json" --checks all --max-examples "$EXAMPLES" \
    --generation-deterministic --request-timeout 30 --no-color
