#!/usr/bin/env bash
# Makes `cargo build --target wasm32-wasip2` work here, Rust and C. Safe to run again and to interrupt.
#
#   scripts/setup-toolchain.sh            set up what is missing
#   scripts/setup-toolchain.sh --check    only say whether everything is there (exit code 1 if not)
#
# WASI_SDK_PATH      a wasi-sdk to take C compiler and headers from, instead of Debian's
# SECURE_LOG_CLANG   a clang that knows wasm32-wasip2, instead of the one found
# SECURE_LOG_CACHE   where downloads are kept (default: .cache in the repository)
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-debian.sh
. "$REPO_ROOT/scripts/lib-debian.sh"
cd "$REPO_ROOT"

TARGET=wasm32-wasip2
work=""
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT

both_ways() {
    cat >&2 <<TEXT

wasm32-wasip2 could not be set up. There are two ways, either is enough:

  1. with access to Rust's servers:
         rustup target add $TARGET
  2. without, on Debian (or with Debian's mirror among apt's sources): build the standard library from
     Debian's packages rust-src (of exactly rustc $(rustc_version)) and wasi-libc. This script does so when it
     finds apt-get, the Debian mirror, the package rust-src $(rustc_version) and write access to
         $(rustc --print sysroot)

C for wasm also needs clang with the wasm target and wasi-libc's headers: Debian's clang-19, llvm-19,
libclang-rt-19-dev-wasm32 (installed by this script), or a wasi-sdk named in WASI_SDK_PATH
(macOS: brew install llvm wasi-libc, or a wasi-sdk).
TEXT
}

rustc_version() { rustc --version | cut -d' ' -f2; }

# --- from Debian ---------------------------------------------------------------------------------------------

# wasi-libc's headers and libraries, kept in the cache. Older ones than these know wasip2 only in part.
wasi_libc() {
    local kept="$SECURE_LOG_CACHE/wasi-libc"
    [ ! -e "$kept/lib/$TARGET/libc.a" ] || return 0
    debian_unpack wasi-libc '^0\.0~git(2025(0[6-9]|1)|202[6-9]|20[3-9])' "$work/wasi" \
        "./usr/include/$TARGET" "./usr/lib/$TARGET" || return 1
    mkdir -p "$work/wasi-libc/include" "$work/wasi-libc/lib" &&
        mv "$work/wasi/usr/include/$TARGET" "$work/wasi-libc/include/" &&
        mv "$work/wasi/usr/lib/$TARGET" "$work/wasi-libc/lib/" || return 1
    rm -rf "$kept"
    mv "$work/wasi-libc" "$kept"
}

# --- the Rust target ----------------------------------------------------------------------------------------

target_from_rustup() {
    have rustup || { say "    no rustup here"; return 1; }
    local limit=""
    if have timeout; then limit="timeout 600"; fi
    # shellcheck disable=SC2086
    $limit rustup target add "$TARGET" >"$work/rustup.log" 2>&1 </dev/null && wasm_target_ready && return 0
    say "    rustup could not: $(grep -E 'error' "$work/rustup.log" | head -n 1 || tail -n 1 "$work/rustup.log")"
    return 1
}

# The sources of the standard library of exactly this compiler: rustup's component if it is there, else Debian's package.
std_sources() {
    local version="$1" installed
    installed="$(rustc --print sysroot)/lib/rustlib/src/rust/library"
    if [ -e "$installed/sysroot/Cargo.toml" ]; then
        cp -R "$installed" "$work/library"
        return
    fi
    debian_unpack rust-src "^${version//./\\.}[+~-]" "$work/rust-src" './usr/src/rustc-*/library' || return 1
    mv "$work/rust-src/usr/src/rustc-"*/library "$work/library"
}

target_from_source() {
    local version sysroot rustlib staged started=$SECONDS
    version="$(rustc_version)"
    sysroot="$(rustc --print sysroot)"
    rustlib="$sysroot/lib/rustlib"
    [ -w "$rustlib" ] || { say "    $rustlib is not writable for this user"; return 1; }
    wasi_libc || return 1
    std_sources "$version" || return 1

    step "building the standard library of rustc $version for $TARGET (about half a minute, once per compiler)"
    # Debian's vendored crates lack std's dev-dependencies; the lock file pins the same crates of the registry.
    rm -rf "$work/library/.cargo" "$work/library/vendor"
    chmod -R u+w "$work/library"
    if ! (
        cd "$work/library"
        unset CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS RUSTC_WRAPPER
        export RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=stdbuild CARGO_TARGET_DIR="$work/std-target"
        export RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix=$work/library=/rustc-std/library"
        cargo build --locked --release --target "$TARGET" --manifest-path sysroot/Cargo.toml \
            --features panic-unwind,compiler-builtins-mem
    ) >"$work/std.log" 2>&1; then
        tail -n 30 "$work/std.log" >&2
        return 1
    fi

    # Put together on the sysroot's own file system, so that one rename installs it whole.
    staged="$rustlib/.$TARGET.$$"
    rm -rf "$rustlib/.$TARGET".*
    mkdir -p "$staged/lib/self-contained" &&
        cp "$work/std-target/$TARGET/release/deps/"*.rlib "$staged/lib/" &&
        cp "$SECURE_LOG_CACHE/wasi-libc/lib/$TARGET/"{libc.a,crt1-command.o,crt1-reactor.o} \
            "$staged/lib/self-contained/" &&
        printf 'Built from the sources of rustc %s by secure-log, scripts/setup-toolchain.sh. Delete this folder to undo.\n' \
            "$version" >"$staged/BUILT-FROM-SOURCE" || return 1
    if [ -e "$rustlib/$TARGET" ]; then
        mv "$rustlib/$TARGET" "$staged.old" || return 1
    fi
    mv "$staged" "$rustlib/$TARGET" || return 1
    rm -rf "$staged.old"
    say "    done in $((SECONDS - started)) s"
    wasm_target_ready
}

set_up_target() {
    if wasm_target_ready; then
        say "    $TARGET is there already"
        return 0
    fi
    step "getting the Rust target $TARGET from rustup"
    target_from_rustup && return 0
    step "getting the Rust target $TARGET by building its standard library from Debian's sources"
    target_from_source && return 0
    both_ways
    exit 1
}

# --- C for wasm ---------------------------------------------------------------------------------------------

c_ready() {
    if [ -n "${WASI_SDK_PATH:-}" ]; then
        [ -x "$WASI_SDK_PATH/bin/clang" ]
        return
    fi
    local clang
    clang="$(wasm_clang)" && wasm_ar "$clang" >/dev/null && wasi_include >/dev/null
}

set_up_c() {
    if [ -n "${WASI_SDK_PATH:-}" ]; then
        [ -x "$WASI_SDK_PATH/bin/clang" ] || die "WASI_SDK_PATH is $WASI_SDK_PATH, but there is no bin/clang in it"
        say "    C for wasm comes from WASI_SDK_PATH"
        return 0
    fi
    if c_ready; then
        say "    a C compiler for wasm is there already ($(wasm_clang))"
        return 0
    fi
    step "getting a C compiler for wasm (SQLite is C): clang and wasi-libc's headers, about 50 MB"
    if ! wasm_clang >/dev/null || ! wasm_ar "$(wasm_clang)" >/dev/null; then
        have apt-get || { both_ways; exit 1; }
        apt_install clang-19 llvm-19 lld-19 libclang-rt-19-dev-wasm32
    fi
    wasi_include >/dev/null || wasi_libc || { both_ways; exit 1; }
    c_ready || { both_ways; exit 1; }
}

main() {
    { have cargo && have rustc; } || die "cargo and rustc are missing: install Rust (with rustup, or your system's packages)"
    if [ "${1:-}" = --check ]; then
        wasm_target_ready && c_ready
        exit
    fi
    [ $# -eq 0 ] || die "unknown argument '$1' (there is only --check)"
    mkdir -p "$SECURE_LOG_CACHE"
    step "toolchain: $(rustc --version), target $TARGET, C for wasm"
    # Optional: without it the artifacts are a sixth larger.
    if ! have wasm-opt && have apt-get; then
        step "getting wasm-opt (binaryen), which makes the artifacts smaller"
        (apt_install binaryen) || say "    going on without it"
    fi
    if wasm_target_ready && c_ready; then
        say "    everything is there already"
        return 0
    fi
    work="$(mktemp -d "$SECURE_LOG_CACHE/setup.XXXXXX")"
    with_lock toolchain set_up
}

set_up() {
    # A run that was killed leaves its work folder; nobody else holds the lock now, so all but ours are litter.
    find "$SECURE_LOG_CACHE" -maxdepth 1 -name 'setup.*' ! -path "$work" -exec rm -rf {} +
    set_up_target
    set_up_c
    rm -rf "$work"
}

main "$@"
