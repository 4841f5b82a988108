#!/usr/bin/env bash
# The package for JavaScript and the verification page: builds both and runs their tests, in Node and in Chromium.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"

node="$("$REPO_ROOT/scripts/setup-node.sh")" || {
    [ $? -eq 3 ] && echo "NOT CHECKED: the package for JavaScript and the verification page, since Node.js cannot be had here"
    exit
}
export PATH="$node:$PATH" npm_config_cache="$SECURE_LOG_CACHE/npm" npm_config_audit=false npm_config_fund=false
need_tools chromium:chromium openssl:openssl strace:strace
release="$(verify_target_dir)/release"
export SECURE_LOG_BRIDGE="$release/examples/bridge" EDS="$release/eds"

# packages FOLDER: what the lock file says, unless it is there.
packages() {
    cd "$REPO_ROOT/$1"
    if ! cmp -s package-lock.json node_modules/.lock-of-these; then
        npm ci --loglevel=error
        cp package-lock.json node_modules/.lock-of-these
    fi
}

# node_tests FOLDER FILE...: Node's own runner; each of its tests counts.
node_tests() {
    local folder="$1" out="$WORK/tests.out" good bad
    shift
    (cd "$REPO_ROOT/$folder" && node --test --test-reporter=tap "$@") >"$out" 2>&1 || true
    grep -E '^ *(not )?ok [0-9]+ - |^ *# [0-9]+ calls' "$out" || true
    good="$(sed -n 's/^# pass //p' "$out")" bad="$(sed -n 's/^# fail //p' "$out")"
    if [ -z "$good" ] || [ "$bad" != 0 ]; then cat "$out"; fi
    sed -n 's/^ok .* # SKIP/NOT CHECKED:/p' "$out"
    passed=$((passed + ${good:-0}))
    failed=$((failed + ${bad:-1}))
}

packages packages/secure-log
check "the package is built" npm run --silent build
packed() {
    npm pack --dry-run --json 2>/dev/null >"$WORK/pack.json" || return 1
    # shellcheck disable=SC2016  # what stands in backquotes is JavaScript
    node -e '
        const [{ files, size }] = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
        const odd = files.map((file) => file.path).filter((path) => !/^(src|dist)\/|^(README\.md|LICENSE-(MIT|APACHE)|package\.json)$/.test(path));
        console.log(`    ${files.length} files, ${(size / 1e6).toFixed(2)} MB packed`);
        process.exit(odd.length > 0 || files.length < 10 ? (console.log(odd), 1) : 0);' "$WORK/pack.json"
}
check "the package has what is needed and nothing else" packed
node_tests packages/secure-log test/*.test.js

# The rules of the conformance suite, on the stores as JavaScript. (The suite finds them where they are built.)
check "the stores are built alone" node scripts/build.js stores test-stores
rules() {
    if (cd "$REPO_ROOT/verify" && cargo test --release --workspace --test conformance node::) >"$WORK/rules.out" 2>&1; then
        grep -q '^test result: ok. 2 passed' "$WORK/rules.out" && return 0
    fi
    tail -n 40 "$WORK/rules.out"
    return 1
}
if [ -x "$EDS" ]; then check "the stores in Node follow every rule of the conformance suite" rules; fi

packages verify/web
check "the verification page is built" npm run --silent build
if [ -x "$EDS" ]; then
    node_tests verify/web --test-concurrency=1 test/*.test.mjs
else
    echo "NOT CHECKED: the verification page, whose tests need eds"
fi
finish
