#!/usr/bin/env bash
# Builds the components of the newest commit twice, in two directories with different names, and compares the artifacts
# byte by byte. Ends with 0 if all are the same but those named in DIFFER. It takes twice as long as
# scripts/build-components.sh.
#
#   scripts/reproducible.sh          two builds of this commit
#   scripts/reproducible.sh FILE     one build, compared with a list of sums (the SHA256SUMS of a release)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# What has kryoptic's token in it: that is a workspace of its own, whose crates lie outside of it, and cargo puts their paths
# into the names of symbols, by which the linker orders exports.
DIFFER='kryoptic'

have git || die "git is missing: the sources are taken from a clone"
sums=""
if [ $# -gt 0 ]; then
    [ -f "$1" ] || die "$1: there is no such file with sums"
    sums="$(cd "$(dirname "$1")" && pwd)/$(basename "$1")"
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
# What the toolchain and the libraries of the tokens are is an input, the same for both.
export SECURE_LOG_CACHE

# build FOLDER: the artifacts of a clone, in a folder and a target folder of its own.
build() {
    git clone --quiet --no-hardlinks "$REPO_ROOT" "$1"
    step "building in $1"
    (cd "$1" && env -u CARGO_TARGET_DIR ./scripts/build-components.sh --quiet >"$1.log" 2>&1) || {
        tail -n 30 "$1.log"
        die "the build in $1 failed"
    }
    (cd "$1/dist" && find . -name '*.wasm' | LC_ALL=C sort | xargs sha256sum) >"$1.sums"
}

one="$work/one"
build "$one"
if [ -n "$sums" ]; then
    step "comparing with $sums"
    # A list may name what is not built here.
    (cd "$one/dist" && grep '\.wasm$' "$sums" | grep -v "$DIFFER" | sha256sum --check --quiet) || die "these artifacts are others"
    say "the same: $(grep '\.wasm$' "$sums" | grep -vc "$DIFFER") artifacts; not compared: $(grep '\.wasm$' "$sums" | grep -c "$DIFFER") with $DIFFER"
    exit 0
fi
two="$work/another-directory/with/a-longer-name"
mkdir -p "$(dirname "$two")"
build "$two"
step "comparing"
if ! diff <(grep -v "$DIFFER" "$one.sums") <(grep -v "$DIFFER" "$two.sums"); then
    die "two builds of the same sources gave different artifacts"
fi
say "the same, byte by byte: $(grep -vc "$DIFFER" "$one.sums") artifacts; not compared: $(grep -c "$DIFFER" "$one.sums") with $DIFFER"
