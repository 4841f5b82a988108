#!/usr/bin/env bash
# From a fresh clone to a log on disk: sets up the toolchain, builds the components, composes them, and writes this
# machine's own package log (or what it has instead) into a SQLite store and a file store, sealed, signed and verified.
# Then a device signs what it saw, a server verifies it before it is stored, and somebody else checks the records.
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

# device_layer: the records of a lift inspection, from the device through a server into a log and out again.
device_layer() {
    local dir="$work/device" eds began=$SECONDS key address
    eds="$(verify_target_dir)/release/eds"
    rm -rf "$dir"
    mkdir -p "$dir"
    step "records of a device, through a server that verifies them, in $dir"
    run() {
        say "    \$ eds $*"
        (cd "$dir" && "$eds" "$@")
    }
    run audit keygen --out lift-01.key.json
    key="$(sed -n 's/.*"public_key_hex": *"\([0-9a-f]*\)".*/\1/p' "$dir/lift-01.key.json")"
    say "    \$ eds serve --addr 127.0.0.1:0 --device lift-01=$key &"
    (cd "$dir" && exec "$eds" serve --addr 127.0.0.1:0 --device "lift-01=$key" --log-format text) \
        >"$dir/server.log" 2>&1 &
    server=$!
    trap 'kill "$server" 2>/dev/null || true; stop_steps' EXIT
    for _ in $(seq 300); do
        address="$(sed -n 's/.*\(127\.0\.0\.1:[1-9][0-9]*\).*/\1/p' "$dir/server.log" | head -n 1)"
        [ -z "$address" ] || break
        kill -0 "$server" 2>/dev/null || die "the server ended: $(tail -n 5 "$dir/server.log")"
        sleep 0.1
    done
    [ -n "$address" ] || die "the server did not say where it listens; see $dir/server.log"
    run audit sign-record --device-id lift-01 --sequence 1 --payload "check=door,status=ok" \
        --object-ref lift-01/1.bin --key-file lift-01.key.json --out record.json
    printf '{"record":%s,"raw_payload_hex":"%s"}' "$(cat "$dir/record.json")" \
        "$(printf %s "check=door,status=ok" | od -An -tx1 | tr -d ' \n')" >"$dir/accepted.json"
    # The same with another payload: what somebody on the way would send.
    sed 's/"raw_payload_hex":"63/"raw_payload_hex":"64/' "$dir/accepted.json" >"$dir/refused.json"
    post "$address" accepted 202
    post "$address" refused 422
    kill -TERM "$server"
    wait "$server" || die "the server did not end in order: $(tail -n 5 "$dir/server.log")"
    run audit verify-store
    run audit export --device-id lift-01 --out export.json
    run audit verify-chain --records-file export.json --public-key-hex "$key"
    run log verify --store audit.db
    say "    done: the device layer ($((SECONDS - began)) s)"
}

# post ADDRESS FILE STATUS: sends the request of a file and expects this status.
post() {
    local status
    say "    \$ curl -H 'content-type: application/json' --data @$2.json http://$1/api/v1/ingest"
    status="$(curl -sS -o "$dir/$2.answer" -w '%{http_code}' -H 'content-type: application/json' \
        --data "@$dir/$2.json" "http://$1/api/v1/ingest")"
    say "    $status $(cat "$dir/$2.answer")"
    [ "$status" = "$3" ] || die "the server answered $status, and not $3"
}

have cargo || die "cargo is missing: install Rust first"
if [ ! -x "$(verify_target_dir)/release/secure-log-verify" ] || [ ! -e dist/secure-log-sqlite.wasm ]; then
    say "The first run downloads and compiles wasmtime, SQLite and the components: ten minutes or more on two cores."
    say "Later runs reuse all of it. Logs of the steps: $LOGS"
fi

# The harness needs nothing of the wasm toolchain, so it compiles beside everything else.
start_step harness "compiling the harness (wasmtime, the runtime that hosts the components)" \
    in_verify cargo build --release
run_step toolchain "setting up the wasm toolchain" ./scripts/setup-toolchain.sh
run_step components "building the components and composing them into dist/" ./scripts/build-components.sh --quiet
grep -E '^dist/[^/]*\.wasm' "$LOGS/components.log" | sed 's/^/    /' >&2
wait_step harness "compiling the harness"
# eds carries the components, so it comes after them.
run_step eds "compiling eds, the command line" in_verify cargo build --release -p eds

[ "$keep" -eq 1 ] || rm -rf "$work/stores"
mkdir -p "$work/stores"
write_events
harness secure-log-sqlite "$work/stores/audit.db"
harness secure-log-file "$work/stores/audit.jsonl"
have curl || apt_install curl
device_layer

step "all done in $SECONDS s; the logs are in $work/stores"
