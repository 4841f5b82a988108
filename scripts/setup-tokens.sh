#!/usr/bin/env bash
# Builds what the PKCS#11 tokens (components/token-softhsm, components/token-kryoptic) link: OpenSSL's libcrypto and
# SoftHSM 2.6.1 for wasm32-wasip2. Once, into the cache folder; safe to run again and to interrupt.
#
#   scripts/setup-tokens.sh            build what is missing or out of date
#   scripts/setup-tokens.sh --check    only say whether everything is there (exit code 1 if not)
#
# Exit code 3: something that this needs is not to be had here. It says what; everything but the tokens works without.
#
# SECURE_LOG_SOFTHSM   softhsm2_2.6.1.orig.tar.gz, where there is no Debian mirror to fetch it from
# and those of scripts/setup-toolchain.sh, which comes first
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-debian.sh
. "$REPO_ROOT/scripts/lib-debian.sh"
cd "$REPO_ROOT"

SOFTHSM_FILE=softhsm2_2.6.1.orig.tar.gz
SOFTHSM_SHA256=ac9ac1e3f4402f88bf3e626a18f070f8031c031947ed469c6e17482495ec72b6
TOKENS="$SECURE_LOG_CACHE/tokens"
LOGS="$TOKENS/logs"
work=""
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT

skip() {
    say "    The PKCS#11 tokens are left out: $1"
    exit 3
}

# --- what it is built with ----------------------------------------------------------------------------------

# Sets clang, clangxx, llvm_ar, headers and libraries (wasi-libc's), cflags.
find_tools() {
    local suffix
    clang="" clangxx="" llvm_ar="" headers="" libraries="" cflags="--target=wasm32-wasip2"
    if [ -n "${WASI_SDK_PATH:-}" ]; then
        clang="$WASI_SDK_PATH/bin/clang" clangxx="$WASI_SDK_PATH/bin/clang++" llvm_ar="$WASI_SDK_PATH/bin/llvm-ar"
        headers="$WASI_SDK_PATH/share/wasi-sysroot/include/wasm32-wasip2"
    else
        clang="$(wasm_clang)" && llvm_ar="$(wasm_ar "$clang")" && headers="$(wasi_include)" || return 1
        suffix="${clang##*clang}"
        clangxx="$(dirname "$clang")/clang++$suffix"
        cflags="$cflags -isystem $headers"
    fi
    libraries="$(dirname "$(dirname "$headers")")/lib/wasm32-wasip2"
    [ -x "$clangxx" ] && [ -e "$libraries/libwasi-emulated-getpid.a" ]
}

clang_major() { "$clang" --version | sed -n '1s/.*version \([0-9]*\)\..*/\1/p'; }

# What kryoptic's bindings are generated with.
have_libclang() {
    local place
    for place in /usr/lib/llvm-*/lib /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /opt/homebrew/opt/llvm/lib /usr/local/opt/llvm/lib \
        "${LIBCLANG_PATH:-/nowhere}"; do
        if compgen -G "$place/libclang*.so*" >/dev/null || [ -e "$place/libclang.dylib" ]; then return 0; fi
    done
    return 1
}

# The entry of openssl-src in the lock file: name, version, checksum.
openssl_entry() { grep -A 3 '^name = "openssl-src"$' Cargo.lock; }

# A part is what its key says: the hash of all that went into it. Each builds on those before it.
set_keys() {
    local common
    common="$("$clang" --version; sha256 <"$libraries/libc.a"; declare -f part compile)"
    key_libcxx="$(printf '%s' "$common" "$(declare -f find_libcxx make_libcxx)" | sha256)"
    key_libcrypto="$(printf '%s' "$common" "$(declare -f make_libcrypto openssl_target)" "$(openssl_entry)" | sha256)"
    key_softhsm="$(printf '%s' "$key_libcxx" "$key_libcrypto" "$(declare -f make_softhsm softhsm_makefile)" \
        "$SOFTHSM_SHA256" "$(cat scripts/softhsm/*)" | sha256)"
}

is_current() { [ "$(cat "$TOKENS/$1/key" 2>/dev/null)" = "$2" ]; }

all_current() {
    is_current libcxx "$key_libcxx" && is_current libcrypto "$key_libcrypto" && is_current softhsm "$key_softhsm" &&
        have_libclang
}

# --- the parts ----------------------------------------------------------------------------------------------

# part NAME KEY TITLE: runs make_NAME, which fills $work/NAME, unless what is there has that key.
part() {
    local name="$1" key="$2"
    if is_current "$name" "$key"; then
        say "    $name is there already"
        return 0
    fi
    mkdir -p "$work/$name"
    run_step "$name" "$3" "make_$name" || exit 1
    printf '%s\n' "$key" >"$work/$name/key"
    rm -rf "${TOKENS:?}/$name"
    mv "$work/$name" "$TOKENS/$name"
}

jobs() { getconf _NPROCESSORS_ONLN 2>/dev/null || printf '2\n'; }

# compile NAME COMPILER FLAGS: a compiler under a name without a path, so that no path of this machine gets into what
# it makes.
compile() {
    mkdir -p "$work/bin"
    printf '#!/bin/sh\nexec %q %s "$@"\n' "$2" "$3" >"$work/bin/$1"
    chmod +x "$work/bin/$1"
}

# libc++ without exceptions, of the compiler's version: where it lies, once it is fetched. Sets libcxx and libcxx_lib.
find_libcxx() {
    local major from="$work/packages"
    if [ -n "${WASI_SDK_PATH:-}" ]; then
        libcxx="$headers/c++/v1" libcxx_lib="$libraries"
    else
        major="$(clang_major)"
        debian_unpack "libc++-$major-dev-wasm32" "^1:$major\\." "$from" './usr/lib/llvm-*/*/wasm32-wasi*' &&
            debian_unpack "libc++abi-$major-dev-wasm32" "^1:$major\\." "$from" './usr/lib/llvm-*/*/wasm32-wasi*' || return 1
        libcxx="$from/usr/lib/llvm-$major/include/wasm32-wasi/c++/v1" libcxx_lib="$from/usr/lib/llvm-$major/lib/wasm32-wasi"
    fi
    [ -e "$libcxx/vector" ] && [ -e "$libcxx_lib/libc++.a" ]
}

make_libcxx() {
    mkdir -p "$work/libcxx/lib" && cp -R "$libcxx" "$work/libcxx/include" &&
        cp "$libcxx_lib/libc++.a" "$libcxx_lib/libc++abi.a" "$work/libcxx/lib/"
}

# OpenSSL's description of a target that it does not know by name.
openssl_target() {
    cat <<'TEXT'
my %targets = (
    "wasm32-wasip2" => {
        inherit_from => [ "BASE_unix" ],
        CC => "wasm32-wasip2-cc", AR => "wasm32-wasip2-ar", RANLIB => "wasm32-wasip2-ar s",
        CFLAGS => "-O2",
        cflags => "-ffunction-sections -fdata-sections",
        cppflags => "-D_WASI_EMULATED_GETPID -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_MMAN -D_WASI_EMULATED_PROCESS_CLOCKS",
        bn_ops => "SIXTY_FOUR_BIT",
        thread_scheme => "(unknown)",
        dso_scheme => undef,
        enable => [],
        disable => [],
    },
);
TEXT
}

# Without what neither token asks for. What SoftHSM names stays, old algorithms among it (DES, DSA, DH, MD5).
make_libcrypto() {
    local build="$work/openssl" feature
    local options=()
    for feature in asm threads sock dso shared engine module async secure-memory atexit stdio posix-io ui-console \
        autoload-config filenames afalgeng winstore apps tests docs tls dtls quic ssl-trace srp cmp ct ocsp ts http \
        legacy md4 mdc2 rc2 rc4 idea seed bf cast camellia aria sm2 sm3 sm4 whirlpool rmd160 gost; do
        options+=("no-$feature")
    done
    compile wasm32-wasip2-cc "$clang" "$cflags -ffile-prefix-map=$openssl=/openssl -ffile-prefix-map=$work=/build"
    compile wasm32-wasip2-ar "$llvm_ar" ""
    mkdir -p "$build" && openssl_target >"$work/openssl.conf" && cd "$build" &&
        export PATH="$work/bin:$PATH" SOURCE_DATE_EPOCH=0 &&
        perl "$openssl/Configure" --config="$work/openssl.conf" wasm32-wasip2 "${options[@]}" \
            --prefix=/usr --openssldir=/ssl &&
        make -s -j "$(jobs)" build_generated &&
        make -s -j "$(jobs)" libcrypto.a &&
        mkdir -p "$work/libcrypto/include/openssl" &&
        cp "$openssl"/include/openssl/*.h include/openssl/*.h "$work/libcrypto/include/openssl/" &&
        cp libcrypto.a "$libraries/libwasi-emulated-getpid.a" "$work/libcrypto/"
}

softhsm_makefile() {
    cat <<'TEXT'
sources := $(filter-out crypto/Botan% object_store/DB%,$(wildcard *.cpp common/*.cpp crypto/*.cpp data_mgr/*.cpp \
    handle_mgr/*.cpp object_store/*.cpp session_mgr/*.cpp slot_mgr/*.cpp))
folders := . common crypto data_mgr handle_mgr object_store pkcs11 session_mgr slot_mgr
flags := -std=gnu++11 -O2 -w -DNDEBUG -D_WASI_EMULATED_GETPID -D_BSD_SOURCE -DCRYPTOKI_VISIBILITY \
    -fvisibility=hidden -ffunction-sections -fdata-sections $(folders:%=-I%)
libsofthsm2.a: $(sources:.cpp=.o)
	@wasm32-wasip2-ar rcs $@ $^
# These catch what nothing throws: the handlers are dropped.
main.o common/fatal.o data_mgr/SecureMemoryRegistry.o SoftHSM.o slot_mgr/SlotManager.o: \
    exceptions := -fexceptions -fignore-exceptions -U__cpp_exceptions
%.o: %.cpp
	@echo $<; wasm32-wasip2-c++ $(flags) $(or $(exceptions),-fno-exceptions) -c -o $@ $<
TEXT
}

# Everything but the Botan and the database backend, compiled in its folder: names in messages are relative.
make_softhsm() {
    local sources="$work/softhsm-sources"
    compile wasm32-wasip2-c++ "$clangxx" "-nostdinc++ -isystem $TOKENS/libcxx/include $cflags \
-isystem $TOKENS/libcrypto/include -I$REPO_ROOT/scripts/softhsm -include $REPO_ROOT/scripts/softhsm/wasi_compat.h"
    compile wasm32-wasip2-ar "$llvm_ar" ""
    mkdir -p "$sources" && tar -xzf "$softhsm" -C "$sources" --strip-components 1 &&
        perl scripts/softhsm/edit.pl "$sources/src/lib" && softhsm_makefile >"$sources/src/lib/Makefile" &&
        PATH="$work/bin:$PATH" make -C "$sources/src/lib" -f Makefile -j "$(jobs)" libsofthsm2.a &&
        cp "$sources/src/lib/libsofthsm2.a" "$sources/LICENSE" "$work/softhsm/"
}

# --- everything ---------------------------------------------------------------------------------------------

# Sources and packages first: what cannot be had is no failure. Sets libcxx, openssl and softhsm, as they are needed.
fetch_sources() {
    openssl="" softhsm=""
    if ! is_current libcxx "$key_libcxx"; then
        step "getting libc++ for wasm (2 MB)"
        find_libcxx || skip "no libc++ for wasm of clang $(clang_major) (Debian's libc++-$(clang_major)-dev-wasm32)"
    fi
    if ! is_current libcrypto "$key_libcrypto"; then
        step "getting OpenSSL's sources (the crate openssl-src, $(openssl_entry | sed -n 's/^version = "\(.*\)"/\1/p'))"
        openssl="$(cargo metadata --locked --format-version 1 2>"$work/metadata.log" | tr ',' '\n' |
            sed -n 's|^"manifest_path":"\(.*/openssl-src[^/]*\)/Cargo.toml"$|\1/openssl|p')" ||
            skip "cargo could not get the crate openssl-src: $(tail -n 1 "$work/metadata.log")"
        [ -e "$openssl/Configure" ] || skip "no sources of OpenSSL in the crate openssl-src"
    fi
    if ! is_current softhsm "$key_softhsm"; then
        step "getting SoftHSM's sources (1 MB)"
        if [ -n "${SECURE_LOG_SOFTHSM:-}" ]; then
            softhsm="$SECURE_LOG_SOFTHSM"
            [ "$(sha256 <"$softhsm")" = "$SOFTHSM_SHA256" ] || die "SECURE_LOG_SOFTHSM: $softhsm is not $SOFTHSM_FILE"
        else
            softhsm="$(debian_original softhsm2 '^2\.6\.1-' "$SOFTHSM_FILE" "$SOFTHSM_SHA256")" ||
                skip "no $SOFTHSM_FILE from a Debian mirror; get it elsewhere and name it in SECURE_LOG_SOFTHSM"
        fi
    fi
}

install_tools() {
    local missing=() tool
    for tool in perl make; do have "$tool" || missing+=("$tool"); done
    if ! have_libclang; then missing+=("libclang1-$(clang_major)"); fi
    [ "${#missing[@]}" -gt 0 ] || return 0
    have apt-get || skip "missing here: ${missing[*]}"
    (apt_install "${missing[@]}") || skip "missing here: ${missing[*]}"
}

build() {
    # A run that was killed leaves its work folder; nobody else holds the lock now, so all but ours are litter.
    find "$SECURE_LOG_CACHE" -maxdepth 1 -name 'tokens.*' ! -path "$work" -exec rm -rf {} +
    mkdir -p "$TOKENS"
    install_tools
    fetch_sources
    part libcxx "$key_libcxx" "putting libc++ in its place"
    say "    what comes now takes 3 to 5 minutes, once"
    part libcrypto "$key_libcrypto" "building libcrypto for wasm"
    part softhsm "$key_softhsm" "building SoftHSM for wasm"
    rm -rf "$work"
}

main() {
    if [ "${1:-}" = --check ]; then
        find_tools 2>/dev/null && set_keys && all_current
        exit
    fi
    [ $# -eq 0 ] || die "unknown argument '$1' (there is only --check)"
    step "the libraries of the PKCS#11 tokens: libcrypto, SoftHSM"
    find_tools || skip "no clang and clang++ for wasm with wasi-libc here (scripts/setup-toolchain.sh)"
    set_keys
    if all_current; then
        say "    everything is there already"
        return 0
    fi
    mkdir -p "$SECURE_LOG_CACHE"
    work="$(mktemp -d "$SECURE_LOG_CACHE/tokens.XXXXXX")"
    with_lock tokens build
}

main "$@"
