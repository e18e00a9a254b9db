#!/usr/bin/env bash
# Prints, as exports, the variables that the tests read:
#
#   SPANDREL_BIN                        the binary under test (dev profile)
#   SPANDREL_PYTHON                     a Python that has the real OpenTelemetry SDK
#   CHROMIUM                            the browser
#   ROCKSDB_LIB_DIR, ROCKSDB_STATIC     the compiled RocksDB

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/rocksdb.sh" --env
printf "export SPANDREL_BIN='%s'\n" "$TARGET/debug/spandrel"
if [[ -f "$ROOT/tests/sdk/python/requirements.txt" ]]; then
    printf "export SPANDREL_PYTHON='%s'\n" "$(python_venv)/bin/python"
fi
if chromium="$(chromium_path)"; then printf "export CHROMIUM='%s'\n" "$chromium"; fi
