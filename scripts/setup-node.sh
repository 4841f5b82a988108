#!/usr/bin/env bash
# Finds Node.js 20 or newer with npm, or installs one into the cache folder, and prints the folder to put first in PATH.
# Exit code 3: it cannot be had here.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV="$SECURE_LOG_CACHE/node"
WANTED="$REPO_ROOT/scripts/node-requirements.txt"

major() { "$1" --version 2>/dev/null | sed -n 's/^v\([0-9]*\)\..*/\1/p'; }

if have node && have npm && [ "$(major node)" -ge 20 ] 2>/dev/null; then
    dirname "$(command -v node)"
    exit
fi

have python3 || { say "there is no Node.js here, and no python3 to get one with"; exit 3; }
with_lock node python_venv "$VENV" "$WANTED"
[ "$(major "$VENV/bin/node")" -ge 20 ]
printf '%s\n' "$VENV/bin"
