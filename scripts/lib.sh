# shellcheck shell=bash
# Helpers that the scripts of this folder share. Sourced, never run.
# Written for bash 3.2 (macOS) as well.

REPO_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
export REPO_ROOT
export SECURE_LOG_CACHE="${SECURE_LOG_CACHE:-$REPO_ROOT/.cache}"

say() { printf '%s\n' "$*" >&2; }
step() { printf '==> %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The SHA-256 of standard input, in hexadecimal.
sha256() { if have sha256sum; then sha256sum; else shasum -a 256; fi | cut -d' ' -f1; }

# Runs a command as root: directly, or through sudo when that asks for nothing.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo "$@"
    else
        return 77
    fi
}

# python_venv FOLDER REQUIREMENTS: a virtual environment with exactly these packages, by their hashes, unless it is there.
# Returns 3 where it cannot be had.
python_venv() {
    local venv="$1" wanted="$2"
    if cmp -s "$wanted" "$venv/installed.txt"; then
        say "the packages of $(basename "$wanted") are there"
        return 0
    fi
    rm -rf "$venv"
    if ! python3 -m venv "$venv" >&2; then
        rm -rf "$venv"
        # Debian has it in a package of its own.
        have apt-get || return 3
        (apt_install python3-venv) && python3 -m venv "$venv" >&2 || return 3
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --require-hashes -r "$wanted" >&2 || return 3
    cp "$wanted" "$venv/installed.txt"
}

# apt_install PACKAGE...: installs what is missing; refreshes the lists only when that is needed.
apt_install() {
    local missing=() package
    for package in "$@"; do
        if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed'; then
            missing+=("$package")
        fi
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    local rc=0
    _apt_install_now "${missing[@]}" || rc=$?
    if [ "$rc" -eq 77 ]; then
        die "these Debian packages are needed and this user may not install them; run: sudo apt-get install --no-install-recommends ${missing[*]}"
    fi
    if [ "$rc" -ne 0 ]; then
        say "    the package lists are old or empty; refreshing them"
        as_root apt-get -qq -o DPkg::Lock::Timeout=300 update >&2 || true
        _apt_install_now "${missing[@]}" || die "apt-get could not install: ${missing[*]}"
    fi
}

_apt_install_now() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 install "$@" </dev/null >&2
}

# with_lock NAME COMMAND...: one process at a time does COMMAND; the lock goes away with the process.
with_lock() {
    local name="$1"
    shift
    mkdir -p "$SECURE_LOG_CACHE/locks"
    if have flock; then
        (
            if ! flock -n 9; then
                say "    another run is busy with '$name'; waiting for it"
                flock 9
            fi
            "$@" 9>&-
        ) 9>"$SECURE_LOG_CACHE/locks/$name"
    else
        "$@"
    fi
}

# Where the standard library of the wasm target lives in the toolchain that cargo uses here.
wasm_libdir() { rustc --print target-libdir --target wasm32-wasip2 2>/dev/null; }

wasm_target_ready() {
    local dir
    dir="$(wasm_libdir)" || return 1
    compgen -G "$dir/libstd-*.rlib" >/dev/null && [ -e "$dir/self-contained/libc.a" ]
}

# The clang for wasm: the user's choice, else the newest that Debian or the system offers.
wasm_clang() {
    local candidate
    for candidate in "${SECURE_LOG_CLANG:-}" clang-19 clang-22 clang-21 clang-20 clang-18 \
        /opt/homebrew/opt/llvm/bin/clang /usr/local/opt/llvm/bin/clang clang; do
        [ -n "$candidate" ] || continue
        if have "$candidate" && _targets_wasm "$candidate"; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

_targets_wasm() {
    printf 'int x;\n' | "$1" --target=wasm32-wasip2 -x c -c -o /dev/null - 2>/dev/null
}

# The ar that belongs to a clang: beside it, with the same version suffix.
wasm_ar() {
    local clang="$1" beside suffix
    suffix="${clang##*clang}"
    beside="$(dirname "$clang")/llvm-ar$suffix"
    if [ -x "$beside" ]; then
        printf '%s\n' "$beside"
    elif have "llvm-ar$suffix"; then
        command -v "llvm-ar$suffix"
    elif have llvm-ar; then
        command -v llvm-ar
    else
        return 1
    fi
}

# The folder with wasi-libc's headers for wasm32-wasip2 (its stdio.h).
wasi_include() {
    local candidate
    for candidate in "$SECURE_LOG_CACHE/wasi-libc/include/wasm32-wasip2" \
        /usr/include/wasm32-wasip2 \
        /opt/homebrew/opt/wasi-libc/share/wasi-sysroot/include/wasm32-wasip2 \
        /usr/local/opt/wasi-libc/share/wasi-sysroot/include/wasm32-wasip2; do
        if [ -e "$candidate/stdio.h" ]; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    return 1
}

# Where cargo puts this workspace's output, as an absolute path.
target_dir() {
    local dir="${CARGO_TARGET_DIR:-target}"
    case "$dir" in
    /*) printf '%s\n' "$dir" ;;
    *) printf '%s\n' "$REPO_ROOT/$dir" ;;
    esac
}

# --- steps: output to a log, one line to the reader, the log's end when it fails ----------------------------

step_groups=()

# start_group COMMAND...: runs in the background, in a process group of its own, which ends with this script.
start_group() {
    set -m
    _in_group "$@" &
    set +m
    step_groups+=("$!")
    trap stop_steps EXIT
}

_in_group() {
    trap - EXIT
    step_groups=()
    "$@"
}

# start_step NAME TITLE COMMAND...: runs in the background, its output in a log. The file NAME.rc holds exit code and
# seconds once it is over. The caller sets LOGS. COMMAND should be one command: `set -e` does not reach into a function.
start_step() {
    local name="$1" title="$2"
    shift 2
    step "$title"
    mkdir -p "$LOGS"
    rm -f "$LOGS/$name.rc"
    start_group _log_step "$name" "$@"
}

_log_step() {
    local name="$1" rc=0 began=$SECONDS
    shift
    "$@" >"$LOGS/$name.log" 2>&1 </dev/null || rc=$?
    printf '%s %s\n' "$rc" "$((SECONDS - began))" >"$LOGS/.$name.rc"
    mv "$LOGS/.$name.rc" "$LOGS/$name.rc"
}

stop_steps() {
    local group
    for group in ${step_groups[@]+"${step_groups[@]}"}; do
        kill -TERM -- "-$group" 2>/dev/null || true
    done
}

# wait_step NAME TITLE: waits for a step and says how long it took. Returns the step's exit code.
wait_step() {
    local name="$1" title="$2" waited=0 rc seconds
    while [ ! -e "$LOGS/$name.rc" ]; do
        sleep 0.2
        waited=$((waited + 1))
        if [ $((waited % 150)) -eq 0 ]; then
            say "    … $title: $((waited / 5)) s; $(_last_line "$LOGS/$name.log")"
        fi
    done
    read -r rc seconds <"$LOGS/$name.rc"
    if [ "$rc" -eq 0 ]; then
        say "    done: $title (${seconds} s)"
    else
        say "    FAILED: $title (${seconds} s, exit code $rc); the end of $LOGS/$name.log:"
        tail -n 60 "$LOGS/$name.log" | sed 's/^/      | /' >&2
    fi
    return "$rc"
}

# run_step NAME TITLE COMMAND...: start and wait.
run_step() {
    start_step "$@"
    wait_step "$1" "$2"
}

_last_line() {
    tail -c 400 "$1" 2>/dev/null | tr '\r' '\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-90 || true
}

# Where cargo puts the output of verify/, a workspace of its own; never where this one builds: cargo would let one wait
# for the other.
verify_target_dir() {
    if [ -n "${CARGO_TARGET_DIR:-}" ]; then
        printf '%s/verify\n' "$(target_dir)"
    else
        printf '%s/verify/target\n' "$REPO_ROOT"
    fi
}

# in_verify COMMAND...: runs it in verify/, with that workspace's own output folder.
in_verify() { (cd "$REPO_ROOT/verify" && CARGO_TARGET_DIR="$(verify_target_dir)" "$@"); }

# Whether scripts/setup-tokens.sh has built what the tokens link; scripts/env.sh finds out.
tokens_ready() { [ -n "${SECURE_LOG_TOKENS:-}" ]; }

# component_packages WIDE: the Cargo packages of the components that can be built now, with wide arithmetic if WIDE is 1.
# kryoptic's token is a workspace of its own, because of its SQLite.
component_packages() {
    local wide="$1" manifest
    for manifest in components/*/Cargo.toml; do
        case "$manifest" in
        components/token-kryoptic/*) continue ;;
        components/token-softhsm/*)
            if [ "$wide" -eq 1 ] || ! tokens_ready; then continue; fi
            ;;
        esac
        sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -n 1
    done
}
