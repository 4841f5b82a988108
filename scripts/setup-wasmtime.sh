#!/usr/bin/env bash
# Installs the stock command line of wasmtime into the cache folder (some minutes, once), for whoever has none:
# `wasmtime serve` runs the endpoint of a remote store (docs/endpoint.md).
#
#   scripts/setup-wasmtime.sh     installs it and prints its path
#
# SECURE_LOG_CACHE   where it goes (default: .cache in the repository), as tools/bin/wasmtime
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A long-term-support line, and the newest that Rust 1.95 takes; the harness hosts with the same one.
VERSION=48.0.8
TOOLS="$SECURE_LOG_CACHE/tools"

install_wasmtime() {
    if [ "$("$TOOLS/bin/wasmtime" --version 2>/dev/null)" = "wasmtime $VERSION" ]; then
        say "wasmtime $VERSION is there"
        return 0
    fi
    mkdir -p "$TOOLS"
    # What `run` and `serve` need; the rest (debugging, other compilers, exploring) takes as long again to compile.
    env -u RUSTFLAGS cargo install wasmtime-cli --version "$VERSION" --locked --force --no-default-features \
        --features run,serve,cranelift,parallel-compilation,pooling-allocator,component-model,component-model-async,backtrace,cache,logging,threads,gc,gc-drc \
        --root "$TOOLS" --target-dir "$SECURE_LOG_CACHE/wasmtime-target"
    rm -rf "$SECURE_LOG_CACHE/wasmtime-target"
}

with_lock wasmtime install_wasmtime
printf '%s\n' "$TOOLS/bin/wasmtime"
