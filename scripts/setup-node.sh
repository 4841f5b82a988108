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

install_node() {
    if cmp -s "$WANTED" "$VENV/installed.txt"; then
        return 0
    fi
    rm -rf "$VENV"
    have python3 || return 3
    if ! python3 -m venv "$VENV" >&2; then
        rm -rf "$VENV"
        # Debian has it in a package of its own.
        have apt-get || return 3
        (apt_install python3-venv) && python3 -m venv "$VENV" >&2 || return 3
    fi
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r "$WANTED" >&2 || return 3
    cp "$WANTED" "$VENV/installed.txt"
}

with_lock node install_node
[ "$(major "$VENV/bin/node")" -ge 20 ]
printf '%s\n' "$VENV/bin"
