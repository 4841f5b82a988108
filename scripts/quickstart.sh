#!/usr/bin/env bash
# From a fresh clone to a log on disk: sets up the toolchain, builds the components, composes them, and writes this
# machine's own package log (or what it has instead) into a SQLite store and a file store, sealed, signed and verified.
#
#   scripts/quickstart.sh            the first run compiles for some minutes, later runs take seconds
#   scripts/quickstart.sh --keep     keep the stores of the last run and append to them
#
# SECURE_LOG_EVENTS   a text file whose lines become the entries
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$REPO_ROOT"

keep=0
case "${1:-}" in
'') ;;
--keep) keep=1 ;;
*) die "unknown argument '$1' (there is only --keep)" ;;
esac

work="$(target_dir)/quickstart"
LOGS="$work/logs"
mkdir -p "$LOGS"

# What becomes the log's entries: real lines of this machine.
write_events() {
    local into="$work/events.log" source
    if [ -n "${SECURE_LOG_EVENTS:-}" ]; then
        source="$SECURE_LOG_EVENTS"
        cat "$source" >"$into"
    elif [ -s /var/log/dpkg.log ] && [ -r /var/log/dpkg.log ]; then
        source="this machine's package log, /var/log/dpkg.log (its last 2,000 lines)"
        tail -n 2000 /var/log/dpkg.log >"$into"
    elif git log -1 >/dev/null 2>&1; then
        source="the history of this repository (git log)"
        git log --date=iso-strict --format='%ad %h %an: %s' >"$into"
    else
        source="the lines of README.md"
        grep -v '^ *$' README.md >"$into"
    fi
    say "    the entries: $source, $(wc -l <"$into" | tr -d ' ') lines"
}

# harness STACK STORE: runs in the open, so that one sees the steps.
harness() {
    local stack="$1" store="$2" began=$SECONDS
    step "a log in $store, written by dist/$stack.wasm"
    say "    cd verify && cargo run --release -- ../dist/$stack.wasm $store --events $work/events.log"
    in_verify cargo run --quiet --release -- "../dist/$stack.wasm" "$store" --events "$work/events.log" ||
        die "the harness failed on dist/$stack.wasm; its output above says at which step"
    say "    done: $stack ($((SECONDS - began)) s)"
}

have cargo || die "cargo is missing: install Rust first"
if [ ! -x "$(verify_target_dir)/release/secure-log-verify" ] || [ ! -e dist/secure-log-sqlite.wasm ]; then
    say "The first run downloads and compiles wasmtime, SQLite and the components: some minutes on two cores."
    say "Later runs reuse all of it. Logs of the steps: $LOGS"
fi

# The harness needs nothing of the wasm toolchain, so it compiles beside everything else.
start_step harness "compiling the harness (wasmtime, the runtime that hosts the components)" in_verify cargo build --release
run_step toolchain "setting up the wasm toolchain" ./scripts/setup-toolchain.sh
run_step components "building the components and composing them into dist/" ./scripts/build-components.sh --quiet
grep -E '^dist/[^/]*\.wasm' "$LOGS/components.log" | sed 's/^/    /' >&2
wait_step harness "compiling the harness"

[ "$keep" -eq 1 ] || rm -rf "$work/stores"
mkdir -p "$work/stores"
write_events
harness secure-log-sqlite "$work/stores/audit.db"
harness secure-log-file "$work/stores/audit.jsonl"

step "all done in $SECONDS s; the logs are in $work/stores"
