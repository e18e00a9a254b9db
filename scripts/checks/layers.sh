#!/usr/bin/env bash
# Asserts that no module of a crate imports, directly or through others, a sibling that imports it, and that the layers
# of the store point one way. layers.py has the check itself.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

have python3 || die "layers.sh needs python3"
python3 scripts/checks/layers.py || die "imports point in a circle, or against a layer (ARCHITECTURE.md draws the right way)"
