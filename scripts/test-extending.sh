#!/usr/bin/env bash
# The commands of docs/write-a-keystore.md, docs/write-a-transport.md and docs/wasmtime.md, as they stand there.
set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"

need_tools openssl:openssl curl:curl
export PATH="$SECURE_LOG_CACHE/tools/bin:$PATH" CARGO_TERM_COLOR=never
have wac || give_up "wac is there (scripts/test.sh tools)"
have wasmtime || give_up "wasmtime is there (scripts/test.sh wasmtime)"
ln -s "$REPO_ROOT/dist" "$REPO_ROOT/wit" "$REPO_ROOT/examples" "$WORK/"

# --- a keystore ---------------------------------------------------------------------------------------------

PAGE="$REPO_ROOT/docs/write-a-keystore.md"
# run NAME: a block of the page, in one shell with what was set before.
run() {
    take "$1"
    if in_work bash -euo pipefail "$WORK/block.$1" >"$WORK/$1.log" 2>&1 </dev/null; then
        ok "$(basename "$PAGE"): $1"
    else
        not_ok "$(basename "$PAGE"): $1"
        cat "$WORK/$1.log"
    fi
}
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
run build
run plug
if venv="$("$REPO_ROOT/scripts/setup-python.sh")"; then
    PATH="$venv/bin:$PATH"
    run use
    check "the key of the seed signs" grep -q '^— ' "$WORK/use.log"
    check "and is handed out under the log's name" grep -q '^key: ' "$WORK/use.log"
    asked() { in_work env MY_SEED="$1" python sign.py "$2" 2>&1; }
    seed=7777777777777777777777777777777777777777777777777777777777777777
    check "a key that is not there is said to be missing" grep -q '^not-found: .*one key' <(asked "$seed" nobody)
    check "a seed that is none is refused" grep -q '^invalid: .*64 hexadecimal' <(asked "${seed}xx" mine)
    check "without the seed" bash -c '! grep -q 7777' <(asked "${seed}xx" mine)
else
    take use
    echo "NOT CHECKED: the keystore in use, since the packages for Python cannot be had here"
fi
check "write-a-keystore.md: every marked block was run" all_taken

# --- a transport --------------------------------------------------------------------------------------------

PAGE="$REPO_ROOT/docs/write-a-transport.md"
run plug
if [ -n "${venv:-}" ]; then
    take endpoint
    answers() { curl -sf http://127.0.0.1:8791/healthz >/dev/null; }
    start endpoint.log bash -euo pipefail "$WORK/block.endpoint"
    check "the endpoint answers" within 60 answers
    SECURE_LOG_RPC_TOKEN="$(cat "$WORK/token")"
    export SECURE_LOG_RPC_TOKEN
    console use
    check "a wrong token is denied" grep -q 'denied' <(in_work env SECURE_LOG_RPC_TOKEN=wrong python examples/transport.py http://127.0.0.1:8791 2>&1)
    check "where nobody listens it is unavailable" grep -q 'unavailable' <(in_work python examples/transport.py http://127.0.0.1:8792 2>&1)
    stop KILL "$started"
    gone() { grep -q unavailable <(in_work python examples/transport.py http://127.0.0.1:8791 2>&1); }
    check "an endpoint that was killed is unavailable" gone
    sed -i '/^mkdir state/d' "$WORK/block.endpoint"
    start endpoint.log bash -euo pipefail "$WORK/block.endpoint"
    check "it answers again" within 60 answers
    check "and nothing is lost or doubled" grep -q '^entry 3 is stored elsewhere; 3 hold' <(in_work python examples/transport.py http://127.0.0.1:8791 2>&1)
else
    take endpoint use
    echo "NOT CHECKED: the transport in use, since the packages for Python cannot be had here"
fi
check "write-a-transport.md: every marked block was run" all_taken

# --- the stock command line ---------------------------------------------------------------------------------

PAGE="$REPO_ROOT/docs/wasmtime.md"
rm -rf "$WORK/keys" "$WORK/data"
console invoke
console state
check "wasmtime.md: every marked block was run" all_taken
finish
