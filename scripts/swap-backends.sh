#!/usr/bin/env bash
# One log from a file to SQLite to a store across the network, with the same name, head hash and checkpoint at each step,
# and its next entry after each: docs/swap-backends.md. Its commands are those of the page.
#
# Needs dist/ (scripts/build-components.sh) and eds (or EDS_UNDER_TEST); `wasmtime` for the last step.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"

PAGE="$REPO_ROOT/docs/swap-backends.md"
export PATH="$SECURE_LOG_CACHE/tools/bin:$PATH"
need_tools openssl:openssl
eds="${EDS_UNDER_TEST:-$(verify_target_dir)/release/eds}"
[ -x "$eds" ] || die "there is no eds: run 'cargo build --release' in verify/ first"
mkdir "$WORK/bin"
ln -s "$eds" "$WORK/bin/eds"
export PATH="$WORK/bin:$PATH" HOME="$WORK" XDG_CACHE_HOME="$SECURE_LOG_CACHE/wasmtime"
unset SECURE_LOG_RPC_URL SECURE_LOG_RPC_TOKEN SECURE_LOG_KEYSTORE_DIR SECURE_LOG_HEAD_FILE STATE_DIRECTORY
mkdir -p "$XDG_CACHE_HOME"
ln -s "$REPO_ROOT/dist" "$WORK/"

# run NAME [SED-ARGUMENT...]: a block of the page; what follows cannot do without it.
run() {
    local name="$1"
    shift
    take "$name"
    sed -e '' ${@+"$@"} "$WORK/block.$name" >"$WORK/script.$name"
    in_work bash -euo pipefail "script.$name" >"$WORK/$name.log" 2>&1 </dev/null || give_up "swap-backends.md: $name"
    ok "swap-backends.md: $name"
}
# The head of the stream, and of the log with its checkpoint: one line each.
heads_of() { in_work eds log head doors "$@" && in_work eds log head "$@"; }
same_heads() {
    local what="$1"
    shift
    heads_of "$@" >"$WORK/found.heads" 2>"$WORK/heads.log" || { cat "$WORK/heads.log"; return 1; }
    diff "$WORK/expected.heads" "$WORK/found.heads" || { echo "  $what has other heads"; return 1; }
}

run file
heads_of --stack file --store audit.jsonl >"$WORK/expected.heads"
check "file: there is a head and a checkpoint" grep -q '[0-9a-f]\{64\}' "$WORK/expected.heads"
sed 's/^/    /' "$WORK/expected.heads"
run sqlite
check "sqlite: the same heads" same_heads sqlite --store audit.db
run go-on
heads_of --store audit.db >"$WORK/expected.heads"
run remote-store
if have wasmtime; then
    take serve
    SECURE_LOG_RPC_TOKEN="$(openssl rand -hex 32)"
    export SECURE_LOG_RPC_TOKEN
    start serve.log bash -c "$(sed 's/127\.0\.0\.1:8787/127.0.0.1:0/' "$WORK/block.serve")"
    within 60 grep -qs '^Serving HTTP on ' "$WORK/serve.log" || give_up "swap-backends.md: serve"
    url="$(sed -n 's,^Serving HTTP on \(.*\)/$,\1,p' "$WORK/serve.log")"
    check "remote: the same heads" same_heads remote --stack remote --store "$url"
    run remote -e "s,http://127\.0\.0\.1:8787,$url,"
    has_next() { in_work eds log head doors --stack remote --store "$url" --json | grep -q '"seqno": *4\b'; }
    check "remote: the next entry is there" has_next
else
    take serve
    take remote
    echo "NOT CHECKED: the step to a remote store, without wasmtime (scripts/setup-wasmtime.sh)"
fi
check "swap-backends.md: every marked block was run" all_taken
finish
