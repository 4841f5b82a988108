#!/usr/bin/env bash
# Builds the components and composes them into dist/, as stacks.toml says. Fails if an artifact is incomplete.
#
#   scripts/build-components.sh            portable artifacts: dist/*.wasm and dist/components/*.wasm, a .wit beside
#                                          each with its imports and exports, and dist/SHA256SUMS over all of them
#   scripts/build-components.sh --wide     dist/wide/ instead: wide arithmetic, for hosts that we configure ourselves
#   scripts/build-components.sh --bless    write the golden lists of imports (tests/golden) instead of comparing
#   scripts/build-components.sh --quiet    sizes only, without imports
#
# The PKCS#11 tokens are built where scripts/setup-tokens.sh has built their C libraries, and left out elsewhere.
# KEYSTORE_SOFTHSM   a keystore component (exports keys:keystore/signer) to take in the place of our own with SoftHSM2
set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$REPO_ROOT"

wide=0
compose_flags=()
for flag in "$@"; do
    case "$flag" in
    --wide) wide=1 ;;
    --bless | --quiet) compose_flags+=("$flag") ;;
    *) die "unknown argument '$flag'; the first lines of this script say what there is" ;;
    esac
done

wasm_target_ready || die "wasm32-wasip2 is not set up: run scripts/setup-toolchain.sh first"

# These two would replace the flags that scripts/env.sh sets for the wasm target alone.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS

host_dir="$(target_dir)"
wasm_dir="$host_dir"
out=dist
profile=component
if [ "$wide" -eq 1 ]; then
    # In a folder of its own: cargo would rebuild everything at each change of flags.
    wasm_dir="$host_dir/wide"
    out=dist/wide
    # For speed, not for size. LLVM 22 miscompiles some patterns of wide multiplication (llvm/llvm-project#199910), so
    # only the crates that multiply get the feature, and nothing of std is compiled again with it.
    profile=release
    export CARGO_PROFILE_RELEASE_LTO=off
    export RUSTC_WRAPPER="$REPO_ROOT/scripts/wide-rustc.sh"
    CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS+=' --cfg curve25519_dalek_bits="64"'
fi

[ "$wide" -eq 0 ] || compose_flags+=(--portable "$host_dir/wasm32-wasip2/component")
if [ -n "${KEYSTORE_SOFTHSM:-}" ]; then
    [ -f "$KEYSTORE_SOFTHSM" ] || die "KEYSTORE_SOFTHSM is $KEYSTORE_SOFTHSM, but there is no such file"
    compose_flags+=(--prebuilt "keystore-softhsm=$KEYSTORE_SOFTHSM")
fi
packages=()
while IFS= read -r package; do packages+=(-p "$package"); done < <(component_packages "$wide")

# The build tool compiles beside the components: it is another profile, so cargo's locks do not meet.
LOGS="$host_dir/build-logs"
start_step compose-tool "building the composition tool" \
    env CARGO_TARGET_DIR="$host_dir" cargo build -p secure-log-compose
step "building the components$([ "$wide" -eq 0 ] || printf ' with wide arithmetic') (SQLite takes longest)"
cargo build --profile "$profile" --target wasm32-wasip2 --target-dir "$wasm_dir" "${packages[@]}"
if [ "$wide" -eq 0 ] && tokens_ready; then
    step "building kryoptic's token"
    cargo build --locked --profile "$profile" --target wasm32-wasip2 --target-dir "$wasm_dir" \
        --manifest-path components/token-kryoptic/Cargo.toml
fi
wait_step compose-tool "building the composition tool" || exit 1

if [ "$wide" -eq 0 ]; then
    if have wasm-opt; then
        compose_flags+=(--wasm-opt wasm-opt)
    else
        say "    wasm-opt is missing (package binaryen): the artifacts stay a sixth larger"
    fi
fi
step "composing into $out/"
"$host_dir/debug/secure-log-compose" build --components "$wasm_dir/wasm32-wasip2/$profile" --out "$out" \
    ${compose_flags[@]+"${compose_flags[@]}"}

# What to compare a copy with: `cd dist && sha256sum -c SHA256SUMS`.
if [ "$wide" -eq 0 ]; then
    cd "$out"
    { if have sha256sum; then sha256sum ./*.w* components/*.w*; else shasum -a 256 ./*.w* components/*.w*; fi; } |
        sed 's,  \./,  ,' >.SHA256SUMS
    mv .SHA256SUMS SHA256SUMS
fi
