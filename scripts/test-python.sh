#!/usr/bin/env bash
# The examples in Python: the host, and the store, which is built, composed with wac and used, as
# docs/write-a-store.md says. The store goes to dist/test/store-python.wasm too, where the conformance suite of stores finds it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"

venv="$("$REPO_ROOT/scripts/setup-python.sh")" || {
    [ $? -eq 3 ] && echo "NOT CHECKED: the host and the store in Python, whose packages cannot be had here"
    exit
}
hosts="$(verify_target_dir)/release"
export PATH="$venv/bin:$SECURE_LOG_CACHE/tools/bin:$hosts:$PATH"
export HOME="$WORK" XDG_CACHE_HOME="$SECURE_LOG_CACHE/wasmtime"
mkdir -p "$XDG_CACHE_HOME"
ln -s "$REPO_ROOT/dist" "$REPO_ROOT/wit" "$REPO_ROOT/examples" "$WORK/"

# --- a host -------------------------------------------------------------------------------------------------

embeds() {
    in_work python examples/embed.py "$1" >"$WORK/embed.out" 2>&1 || { cat "$WORK/embed.out"; return 1; }
    grep -q "^entry $2 is durable, chained, sealed and signed:" "$WORK/embed.out" && grep -q '^— ' "$WORK/embed.out"
}
mkdir "$WORK/kept"
check "embed.py: is shorter than 40 lines" test "$(wc -l <"$REPO_ROOT/examples/embed.py")" -lt 40
check "embed.py: writes a log" embeds kept 1
check "embed.py: goes on with it" embeds kept 2
says_what_failed() {
    in_work python examples/embed.py nowhere >"$WORK/embed.out" 2>&1 && return 1
    mkdir "$WORK/damaged" && echo "this is no database, and long enough for SQLite to see that" >"$WORK/damaged/audit.db"
    in_work python examples/embed.py damaged >"$WORK/embed.out" 2>&1 && return 1
    grep -q '^RuntimeError: log.open: [a-z]' "$WORK/embed.out" || { cat "$WORK/embed.out"; return 1; }
}
check "embed.py: says what the log refuses" says_what_failed

# --- a store ------------------------------------------------------------------------------------------------

PAGE="$REPO_ROOT/docs/write-a-store.md"
# run NAME: a block of the page.
run() {
    take "$1"
    if in_work bash -euo pipefail "$WORK/block.$1" >"$WORK/$1.log" 2>&1 </dev/null; then
        ok "write-a-store.md: $1"
    else
        not_ok "write-a-store.md: $1"
        cat "$WORK/$1.log"
    fi
}
run build
[ -s "$WORK/my-store.wasm" ] || give_up "write-a-store.md: there is a store"
mkdir -p "$REPO_ROOT/dist/test"
cp "$WORK/my-store.wasm" "$REPO_ROOT/dist/test/.store-python.wasm"
mv "$REPO_ROOT/dist/test/.store-python.wasm" "$REPO_ROOT/dist/test/store-python.wasm"
run plug
if have eds; then
    run use
    tampers() {
        sed -i.before 's/"door-7"/"door-8"/' "$WORK/my.log"
        in_work eds log verify --stack my-log.wasm --store my.log >"$WORK/tampered.out" 2>&1 && return 1
        grep -q 'line [0-9]*: does not have the checksum' "$WORK/tampered.out" || { cat "$WORK/tampered.out"; return 1; }
        mv "$WORK/my.log.before" "$WORK/my.log"
    }
    check "the journal: a changed line is named" tampers
    torn() {
        printf '00000000 {"rows":[[' >>"$WORK/my.log"
        if in_work eds log append doors three --stack my-log.wasm --store my.log >"$WORK/torn.out" 2>&1 &&
            in_work eds log verify --stack my-log.wasm --store my.log >>"$WORK/torn.out" 2>&1; then
            return 0
        fi
        cat "$WORK/torn.out"
        return 1
    }
    check "the journal: half a line at its end is none" torn
else
    echo "NOT CHECKED: the composed log by eds, which is not built"
fi
check "write-a-store.md: every marked block was run" all_taken
finish
