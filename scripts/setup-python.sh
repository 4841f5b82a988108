#!/usr/bin/env bash
# Installs what the examples in Python need, examples/requirements.txt, into a virtual environment of the cache folder,
# and prints where that is. Exit code 3: it cannot be had here.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV="$SECURE_LOG_CACHE/python"
WANTED="$REPO_ROOT/examples/requirements.txt"

install_python() {
    if cmp -s "$WANTED" "$VENV/installed.txt"; then
        say "the packages for Python are there"
        return 0
    fi
    rm -rf "$VENV"
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

have python3 || { say "there is no python3 here"; exit 3; }
with_lock python install_python
printf '%s\n' "$VENV"
