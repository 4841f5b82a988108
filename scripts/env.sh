# shellcheck shell=bash
# The environment for building the components; source it: `. scripts/env.sh`.
# Afterwards a plain `cargo build --target wasm32-wasip2` works, SQLite's C included.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ -n "${WASI_SDK_PATH:-}" ]; then
    export CC_wasm32_wasip2="$WASI_SDK_PATH/bin/clang"
    export CXX_wasm32_wasip2="$WASI_SDK_PATH/bin/clang++"
    export AR_wasm32_wasip2="$WASI_SDK_PATH/bin/llvm-ar"
    wasm_cflags="--target=wasm32-wasip2"
else
    if ! CC_wasm32_wasip2="$(wasm_clang)" ||
        ! AR_wasm32_wasip2="$(wasm_ar "$CC_wasm32_wasip2")" ||
        ! wasm_headers="$(wasi_include)"; then
        die "no C compiler for wasm here yet: run scripts/setup-toolchain.sh first"
    fi
    export CC_wasm32_wasip2 AR_wasm32_wasip2
    wasm_cflags="--target=wasm32-wasip2 -isystem $wasm_headers"
fi

# No path of this machine in the artifacts: the same sources give the same bytes wherever they are built.
# C at -O2, 0.3 MB more than at -Os: a row is SQLite work more than anything else.
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
export CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$REPO_ROOT=/secure-log"
export CFLAGS_wasm32_wasip2="$wasm_cflags -O2 -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$REPO_ROOT=/secure-log"

# Positioned reads and writes: a guest's lseek+write costs twenty times its pwrite. The rest is what a log does not
# need (full-text search, R-trees, JSON, extensions): half of SQLite's size, and fewer ways in.
LIBSQLITE3_FLAGS="-DUSE_PREAD=1 -DSQLITE_DQS=0 -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_JSON -DSQLITE_OMIT_SHARED_CACHE"
for unused in COLUMN_METADATA DBSTAT_VTAB FTS3 FTS3_PARENTHESIS FTS5 JSON1 LOAD_EXTENSION RTREE STAT4; do
    LIBSQLITE3_FLAGS+=" -USQLITE_ENABLE_$unused"
done
export LIBSQLITE3_FLAGS

# What the PKCS#11 tokens link, where scripts/setup-tokens.sh has built it (see there). Unset: no tokens.
unset SECURE_LOG_TOKENS KRYOPTIC_OPENSSL_SOURCES OSSL_BINDGEN_CLANG_ARGS BINDGEN_EXTRA_CLANG_ARGS_wasm32_wasip2
if "$REPO_ROOT/scripts/setup-tokens.sh" --check; then
    export SECURE_LOG_TOKENS="$SECURE_LOG_CACHE/tokens"
    # An archive that is there already is not built again by kryoptic.
    export KRYOPTIC_OPENSSL_SOURCES="$SECURE_LOG_TOKENS/libcrypto"
    export OSSL_BINDGEN_CLANG_ARGS="$wasm_cflags"
    export BINDGEN_EXTRA_CLANG_ARGS_wasm32_wasip2="$wasm_cflags -fvisibility=default"
fi

unset unused wasm_cflags wasm_headers cargo_home
