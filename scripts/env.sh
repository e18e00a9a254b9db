#!/usr/bin/env bash
# Prints, as exports, the variables that the tests read:
#
#   SPANDREL_BIN                        the binary under test (dev profile)
#   SPANDREL_PYTHON                     a Python that has the real OpenTelemetry SDK
#   SPANDREL_COLLECTOR, SPANDREL_ENVOY  a real OpenTelemetry Collector and a real Envoy
#   SPANDREL_KAFKA_JARS, SPANDREL_JAVA  the jars of a real Kafka, and those of Java programs that send spans
#   CHROMIUM                            the browser
#   ROCKSDB_LIB_DIR, ROCKSDB_STATIC     the compiled RocksDB

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/rocksdb.sh" --env
printf "export SPANDREL_BIN='%s'\n" "$TARGET/debug/spandrel"
if [[ -f "$ROOT/tests/sdk/python/requirements.txt" ]]; then
    printf "export SPANDREL_PYTHON='%s'\n" "$(python_venv)/bin/python"
fi
# Where Go or Java is missing, or Envoy has no package for this machine, their tests are skipped.
collector="$(collector_path)"
if [[ -x "$collector" ]]; then printf "export SPANDREL_COLLECTOR='%s'\n" "$collector"; fi
if envoy="$(envoy_path)"; then printf "export SPANDREL_ENVOY='%s'\n" "$envoy"; fi
if kafka="$(jars_of kafka)"; then printf "export SPANDREL_KAFKA_JARS='%s'\n" "$kafka"; fi
if java="$(jars_of sdk/java)"; then printf "export SPANDREL_JAVA='%s'\n" "$java"; fi
if chromium="$(chromium_path)"; then printf "export CHROMIUM='%s'\n" "$chromium"; fi
