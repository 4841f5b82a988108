#!/usr/bin/env bash
# Cargo's RUSTC_WRAPPER for the wide builds: big-number crates get wasm's wide arithmetic, all others do not.
set -euo pipefail

crate=
for ((i = 2; i < $#; i++)); do
    if [ "${!i}" = --crate-name ]; then
        next=$((i + 1))
        crate="${!next}"
        break
    fi
done

case "$crate $*" in
crypto_bigint\ *wasm32-wasip2* | curve25519_dalek\ *wasm32-wasip2* | elliptic_curve\ *wasm32-wasip2* | \
    p256\ *wasm32-wasip2* | primefield\ *wasm32-wasip2* | primeorder\ *wasm32-wasip2* | rsa\ *wasm32-wasip2*)
    exec "$@" -Ctarget-feature=+wide-arithmetic
    ;;
*) exec "$@" ;;
esac
