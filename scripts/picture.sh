#!/usr/bin/env bash
# Makes the picture of the README: docs/picture.png, a trace of the demo's shop in the web UI.
# Needs Chromium (`$CHROMIUM`, else the system's). SPANDREL_BIN names another binary than the release build.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary="${SPANDREL_BIN:-$TARGET/release/spandrel}"
picture="$ROOT/docs/picture.png"
width=1280
height=800
most=153600 # bytes: the picture comes with every clone

[[ -x "$binary" ]] || die "$binary is missing; \`make build\` makes it"
chromium="$(chromium_path)" || die "no Chromium; install it, or say with CHROMIUM where it is"
start_scratch_server "$binary"

say "The demo's shop, for ten seconds"
"$binary" demo --endpoint "http://${at[otlp-grpc]}" --duration 10s --seed 7 2>"$work/demo" ||
    die "the demo did not reach the server: $(tail -n 1 "$work/demo")"

# A checkout with a failure has many services, and few enough spans to be readable.
query='{ name = "POST /checkout" }'
trace="$("$binary" search "$query" --server "http://${at[http]}" --order mostErrors --limit 1 --format json |
    grep -oE '"id":"[0-9a-f]{32}"' | head -n 1 | cut -d'"' -f4)" || die "no trace matches $query"

say "A picture of trace $trace"
"$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run \
    --disable-background-networking --disable-component-update --user-data-dir="$work/browser" \
    --window-size="$width,$height" --virtual-time-budget=10000 \
    --screenshot="$work/picture.png" "http://${at[http]}/trace/$trace" 2>"$work/chromium" ||
    die "Chromium took no picture: $(tail -n 1 "$work/chromium")"
bytes="$(stat -c %s "$work/picture.png")"
((bytes <= most)) || die "the picture has $bytes bytes; at most $most"
mv "$work/picture.png" "$picture"
note "docs/picture.png, $bytes bytes"
