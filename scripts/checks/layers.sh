#!/usr/bin/env bash
# No module of a crate imports, directly or through others, a module beside it that imports it; and the layers of the
# store point one way. The check itself is layers.py.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

have python3 || die "layers.sh needs python3"
python3 scripts/checks/layers.py || die "imports point in a circle, or against a layer (ARCHITECTURE.md draws the right way)"
