#!/usr/bin/env bash
# Installs what the examples in Python need, examples/requirements.txt, into a virtual environment of the cache folder,
# and prints where that is. Exit code 3: it cannot be had here.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV="$SECURE_LOG_CACHE/python"
WANTED="$REPO_ROOT/examples/requirements.txt"

have python3 || { say "there is no python3 here"; exit 3; }
with_lock python python_venv "$VENV" "$WANTED"
printf '%s\n' "$VENV"
