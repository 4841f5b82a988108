#!/usr/bin/env bash
# Gets sigsum-witness (Debian's package sigsum-go), a witness that is not ours, for the tests of crates/secure-log. Into
# the cache folder; nothing is installed.
#
#   scripts/setup-sigsum.sh     gets it and prints the folder of its programs; exit code 3 if it is not to be had here
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-debian.sh
. "$REPO_ROOT/scripts/lib-debian.sh"

KEPT="$SECURE_LOG_CACHE/sigsum"
work=""
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT

get_sigsum() {
    [ ! -x "$KEPT/sigsum-witness" ] || return 0
    debian_unpack sigsum-go '^0\.(1[4-9]|[2-9][0-9])\.' "$work/sigsum" './usr/bin/sigsum-*' || return 1
    rm -rf "$KEPT"
    mv "$work/sigsum/usr/bin" "$KEPT"
}

mkdir -p "$SECURE_LOG_CACHE"
work="$(mktemp -d "$SECURE_LOG_CACHE/sigsum-setup.XXXXXX")"
if ! with_lock sigsum get_sigsum || ! "$KEPT/sigsum-witness" --version >&2; then
    say "    sigsum-witness is not to be had here"
    exit 3
fi
printf '%s\n' "$KEPT"
