#!/usr/bin/env bash
# Runs what docs/endpoint.md says: its commands and their output, its nginx configuration, the command line of its
# systemd unit. A block of the page is taken by the comment in front of it, `<!-- test: NAME -->`; addresses and system
# paths are replaced, nothing else. Needs dist/secure-log-rpc-server.wasm and `wasmtime` (in the cache or on the path).
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PAGE="$REPO_ROOT/docs/endpoint.md"
SERVER="$REPO_ROOT/dist/secure-log-rpc-server.wasm"
HARNESS="$(verify_target_dir)/release/secure-log-verify"
export PATH="$SECURE_LOG_CACHE/tools/bin:$PATH:/usr/sbin:/sbin"

[ -e "$SERVER" ] || die "dist/secure-log-rpc-server.wasm is missing: run scripts/build-components.sh"
have wasmtime || die "there is no wasmtime in $SECURE_LOG_CACHE/tools/bin or on the path: run scripts/setup-wasmtime.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"
need_tools nginx:nginx-light openssl:openssl curl:curl sqlite3:sqlite3 ps:procps

listens() { grep -qs '^Serving HTTP on ' "$WORK/$1"; }
address() { sed -n 's,^Serving HTTP on http://\(.*\)/$,\1,p' "$WORK/$1"; }

# How curl finds what has another port here than on the page.
connect() {
    printf 'noproxy = "*"\nmax-time = 30\n' >"$WORK/.curlrc"
    printf 'connect-to = "127.0.0.1:8787:%s"\n' "$1" >>"$WORK/.curlrc"
    [ -z "${2:-}" ] || printf 'connect-to = "log.example.com:443:127.0.0.1:%s"\n' "$2" >>"$WORK/.curlrc"
}

# serve NAME SCRIPT: starts the endpoint by this script, on a free port, and lets curl find it.
serve() {
    local script
    script="$(sed 's/127\.0\.0\.1:8787/127.0.0.1:0/' "$2")"
    grep -q '127\.0\.0\.1:8787' "$2" || die "block '$1' does not listen on 127.0.0.1:8787"
    rm -f "$WORK/$1.log"
    start "$1.log" bash -c "$script"
    within 30 listens "$1.log" || give_up "$1: the endpoint starts"
    connect "$(address "$1.log")"
    ok "$1: the endpoint listens"
}

# Command lines of a process group.
command_lines() { ps -A -o pgid= -o args= | awk -v group="$1" '$1 == group'; }
hides_token() {
    local lines
    lines="$(command_lines "$1")"
    case "$lines" in
    *wasmtime*serve*) ;;
    *) echo "  ps does not show the process"; return 1 ;;
    esac
    case "$lines" in
    *"$(cat "$WORK/token")"*) return 1 ;;
    esac
}

# seqno_is N: of the last entry of the stream of these examples.
seqno_is() { in_work curl -s -K curl.conf "$URL" -d "$HEAD_CALL" | grep -q "\"seqno\":$1,"; }

# writes NAME: an object that was not there yet.
writes() {
    [ "$(in_work curl -s -K curl.conf "$URL" -d '{"method":"append","params":[[],[],[{"kind":"state","key":"'"$1"'","value":"eA=="}]]}')" = null ]
}
written() { in_work curl -s -K curl.conf "$URL" -d '{"method":"read-object","params":["state","'"$1"'"]}'; }

HEAD_CALL='{"method":"head","params":["doors"]}'
URL=http://127.0.0.1:8787
export HOME="$WORK"
unset CURL_HOME SECURE_LOG_RPC_TOKEN XDG_CONFIG_HOME
# Compiled code is kept from one run to the next.
export XDG_CACHE_HOME="$SECURE_LOG_CACHE/wasmtime"
mkdir -p "$XDG_CACHE_HOME"
ln -s "$REPO_ROOT/dist" "$REPO_ROOT/docs" "$WORK/"

# --- as it comes --------------------------------------------------------------------------------------------

take token
in_work bash -c "$(cat "$WORK/block.token")"
token_is_kept() {
    grep -Eqx '[0-9a-f]{64}' "$WORK/token" &&
        [ "$(find "$WORK/token" "$WORK/curl.conf" -perm 0600 | wc -l)" -eq 2 ]
}
check "token: 64 digits, in files of mode 0600" token_is_kept

take start
serve start "$WORK/block.start"
endpoint="$started"
check "start: ps does not show the token" hides_token "$endpoint"
console first-calls
console append
began=$SECONDS
check "start: SIGTERM ends it" stop TERM "$endpoint"
check "start: at once" test $((SECONDS - began)) -le 1

# --- the faster form ----------------------------------------------------------------------------------------

take faster
# The words of the form that the harness calls the same.
flags_of_harness() { sed -n '/Self::Kept => &\[/,/\]/s/^ *"\(.*\)",$/\1/p' "$REPO_ROOT/verify/src/endpoint/serve.rs" | xargs; }
flags_agree() {
    local flags
    flags="$(flags_of_harness)"
    [ -n "$flags" ] && grep -qF -e "    $flags \\" "$WORK/block.faster" && grep -qF -e "    $flags \\" "$WORK/block.unit"
}
take unit
check "faster: page, unit and harness have the same flags" flags_agree
serve faster "$WORK/block.faster"
endpoint="$started"
check "faster: ps does not show the token" hides_token "$endpoint"
check "faster: the entry is there" seqno_is 1

# --- nginx --------------------------------------------------------------------------------------------------

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
        -addext basicConstraints=critical,CA:TRUE -keyout "$2.key" -out "$2.pem"
}
certificates() (
    cd "$WORK"
    authority "an authority of this test" ca
    authority "another authority" other-ca
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=log.example.com -keyout key.pem \
        -out request.pem
    printf 'subjectAltName=DNS:log.example.com\n' >extensions
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions \
        -out fullchain.pem
)
certificates >"$WORK/openssl.log" 2>&1 || give_up "nginx: certificates"

# site PORT: the page's server block for this machine.
site() {
    sed -e "s,listen      443 ssl,listen 127.0.0.1:$1 ssl," -e "s,http://127.0.0.1:8787,http://$(address faster.log)," \
        -e "s,/etc/secure-log/tls/,$WORK/," -e "s,/var/log/nginx/,$WORK/," "$WORK/block.nginx" >"$WORK/site.conf"
    if grep -Eq '/etc/secure-log|/var/log|:8787;| 443 ssl' "$WORK/site.conf"; then die "the nginx block has paths that are not replaced"; fi
    {
        [ "$(id -u)" -ne 0 ] || echo "user root;"
        echo "daemon off; worker_processes 1; pid $WORK/nginx.pid; error_log $WORK/nginx-error.log info;"
        echo "events {} http {"
        local kind
        for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $WORK/nginx-$kind;"; done
        echo "include $WORK/site.conf; }"
    } >"$WORK/nginx.conf"
}
is_up() { in_work curl -s -o /dev/null --cacert ca.pem https://log.example.com/healthz; }

# nginx does not tell which free port it took, so one is guessed, and another if it is not free.
start_nginx() {
    local tries=5 port
    while [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        site "$port"
        : >"$WORK/nginx.log"
        start nginx.log nginx -p "$WORK" -e "$WORK/nginx-error.log" -c "$WORK/nginx.conf"
        connect "$(address faster.log)" "$port"
        within 2 is_up && return 0
        stop KILL "$started" || true
    done
    return 1
}
take nginx
start_nginx || { cat "$WORK/nginx-error.log"; give_up "nginx: starts with the configuration of the page"; }
ok "nginx: starts with the configuration of the page"
console through-nginx
check "nginx: with another authority curl refuses" has_status 000 --cacert other-ca.pem https://log.example.com/healthz
check "nginx: 401 without the token" has_status 401 --cacert ca.pem https://log.example.com/ -d "$HEAD_CALL"
# One byte more than a call may have, and not one byte more than nginx lets through.
head -c 67108865 /dev/zero >"$WORK/too-large"
head -c 67108864 /dev/zero >"$WORK/largest"
check "nginx: 413 where the endpoint would say so" \
    has_status 413 --cacert ca.pem -K curl.conf https://log.example.com/ --data-binary @too-large
check "nginx: the largest body gets through" \
    has_status 400 --cacert ca.pem -K curl.conf https://log.example.com/ --data-binary @largest
rm "$WORK/too-large" "$WORK/largest"

# A client that sends the head of a request and one byte of the body, then nothing.
cat >"$WORK/slow-client" <<'SLOW'
printf 'POST / HTTP/1.1\r\nHost: log.example.com\r\nAuthorization: Bearer %s\r\n' "$(cat token)"
printf 'Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{'
sleep 20
SLOW
cat >"$WORK/slow-directly" <<'SLOW'
exec 3<>"/dev/tcp/${1%:*}/${1##*:}"
bash slow-client >&3
SLOW
cat >"$WORK/slow-tls" <<'SLOW'
bash slow-client | openssl s_client -quiet -connect "$1" -servername log.example.com -CAfile ca.pem
SLOW
start slow.log bash slow-tls "$(sed -n 's/.*log\.example\.com:443:\(.*\)"/\1/p' "$WORK/.curlrc")"
slow="$started"
sleep 0.5
check "nginx: a slow client keeps nobody waiting" has_status 200 -m 3 -K curl.conf "$URL" -d "$HEAD_CALL"
check "nginx: (it is still at it)" kill -0 "$slow"
stop KILL "$slow" || true
start slow.log bash slow-directly "$(address faster.log)"
slow="$started"
sleep 0.5
check "faster: directly, one does" has_status 000 -m 2 -K curl.conf "$URL" -d "$HEAD_CALL"
stop KILL "$slow" || true
check "faster: until it is gone" has_status 200 -m 3 -K curl.conf "$URL" -d "$HEAD_CALL"

grep -q "POST / HTTP" "$WORK/secure-log.access.log" || not_ok "nginx: has an access log"
check "nginx: no log has the token" fails grep -qF "$(cat "$WORK/token")" "$WORK"/*.log
sed 's/# \(limit_req\)/\1/' "$WORK/site.conf" >"$WORK/site.limited" && mv "$WORK/site.limited" "$WORK/site.conf"
limits_are_right() {
    [ "$(grep -c "^ *limit_req" "$WORK/site.conf")" -eq 3 ] &&
        nginx -p "$WORK" -e "$WORK/nginx-error.log" -c "$WORK/nginx.conf" -t 2>"$WORK/nginx-test.log"
}
check "nginx: the lines in comments are right, too" limits_are_right

# --- copies -------------------------------------------------------------------------------------------------

console backup
console cp-alone
take check-copy
if [ -x "$HARNESS" ]; then
    sed "s,cd verify && cargo run --release --,cd \"$REPO_ROOT/verify\" \&\& \"$HARNESS\"," "$WORK/block.check-copy" \
        >"$WORK/check-copy"
    verify_copy() { in_work bash -e check-copy >"$WORK/harness.log" 2>&1 || { tail -n 20 "$WORK/harness.log"; false; }; }
    check "check-copy: the harness verifies the copy" verify_copy
else
    echo "NOT CHECKED: the copy by the harness, which is not built"
fi

# Something that comes after the copy, and is gone with it. Appends of rpc.md in their order; the second follows the first.
grep '"method":"append"' "$REPO_ROOT/docs/rpc.md" | sed -n 's/^--> //p' | sed -n 2p >"$WORK/second.json"
in_work curl -s -o /dev/null -K curl.conf "$URL" --data-binary @second.json
check "restore: an entry after the copy" seqno_is 2

# --- a crash ------------------------------------------------------------------------------------------------

# Writers at work, so that the process dies somewhere in the middle.
hammer() {
    local n=0
    while writes "$1-$n"; do n=$((n + 1)); done
    echo "$n" >"$WORK/written-$1"
}
hammer one &
hammer_one=$!
hammer two &
hammer_two=$!
sleep 0.5
check "crash: SIGKILL under load" stop KILL "$endpoint"
wait "$hammer_one" "$hammer_two" || true
all_written() {
    local who n
    for who in one two; do
        n="$(cat "$WORK/written-$who")"
        [ "$n" -gt 0 ] && [ "$(written "$who-0")$(written "$who-$((n - 1))")" = '"eA==""eA=="' ] || return 1
    done
}
check "crash: nginx says 502" has_status 502 --cacert ca.pem https://log.example.com/healthz
serve faster "$WORK/block.faster"
endpoint="$started"
began=$SECONDS
check "crash: nothing to clear by hand, the log is there" seqno_is 2
check "crash: and what was acknowledged right before" all_written
check "crash: the first answer comes within the lease" test $((SECONDS - began)) -le 5
stop TERM "$endpoint" || true
# As after a death in the middle of a call: a lease that nobody has given back.
newest="$(cd "$WORK/state/secure-log.db.lease" && printf '%s\n' *.done | sort -n | tail -n 1)"
rm "$WORK/state/secure-log.db.lease/$newest"
serve faster "$WORK/block.faster"
endpoint="$started"
began=$SECONDS
check "crash: a lease that was not given back runs out" seqno_is 2
waited=$((SECONDS - began))
check "crash: in 3 s, and not at once" test "$waited" -ge 2 -a "$waited" -le 6

# --- a new token --------------------------------------------------------------------------------------------

sed -e 's/cat token/cat token.new/' "$WORK/block.start" >"$WORK/second-endpoint"
sed -e 's/token/token.new/g' -e 's/curl\.conf/curl-new.conf/' "$WORK/block.token" >"$WORK/new-token"
in_work bash -c "$(cat "$WORK/new-token")"
first_address="$(address faster.log)"
serve second "$WORK/second-endpoint"
second="$started"
check "token: a second endpoint on the store, with the new one" has_status 200 -K curl-new.conf "$URL" -d "$HEAD_CALL"
check "token: the old one is not the new one's" has_status 401 -K curl.conf "$URL" -d "$HEAD_CALL"
connect "$first_address"
check "token: the first endpoint goes on with the old one" has_status 200 -K curl.conf "$URL" -d "$HEAD_CALL"
stop TERM "$second" || true
stop TERM "$endpoint" || true
mv "$WORK/token.new" "$WORK/token"
serve faster "$WORK/block.faster"
endpoint="$started"
check "token: after a restart the old one is a 401" has_status 401 -K curl.conf "$URL" -d "$HEAD_CALL"
mv "$WORK/curl-new.conf" "$WORK/curl.conf"
check "token: and the new one counts" has_status 200 -K curl.conf "$URL" -d "$HEAD_CALL"

# --- the copy, put back -------------------------------------------------------------------------------------

writes "before-the-end"
check "restore: there is an old -wal that has to go" test -s "$WORK/state/secure-log.db-wal"
stop TERM "$endpoint" || true
take restore
in_work bash -ec "$(cat "$WORK/block.restore")"
serve restored "$WORK/block.faster"
endpoint="$started"
check "restore: the state of the copy" seqno_is 1
whole() {
    [ "$(in_work curl -s -K curl.conf "$URL" -d '{"method":"backup","params":["whole.db"]}')" = null ] &&
        [ "$(in_work sqlite3 -readonly copies/whole.db 'PRAGMA integrity_check')" = ok ] &&
        [ "$(written before-the-end)" = null ]
}
check "restore: nothing of the old -wal was played into it" whole
in_work curl -s -o /dev/null -K curl.conf "$URL" --data-binary @second.json
check "restore: the log goes on from there" seqno_is 2
stop TERM "$endpoint" || true

# --- variables that are wrong -------------------------------------------------------------------------------

sed 's/=.(cat token)/=/' "$WORK/block.start" >"$WORK/without-token"
serve without-token "$WORK/without-token"
endpoint="$started"
JSON='Content-Type: application/json'
check "no token: everybody may read" has_status 200 -H "$JSON" "$URL" -d "$HEAD_CALL"
check "no token: nobody may write" has_status 503 -H "$JSON" "$URL" --data-binary @first.json
stop TERM "$endpoint" || true
sed 's/--env SECURE_LOG_RPC_TOKEN /--env SECURE_LOG_RPC_AUTH=none &/' "$WORK/block.start" >"$WORK/both"
serve both "$WORK/both"
endpoint="$started"
names_both() { in_work curl -s -K curl.conf "$URL" -d "$HEAD_CALL" | grep -q "SECURE_LOG_RPC_AUTH=none and SECURE_LOG_RPC_TOKEN"; }
check "token and AUTH=none: a 503" has_status 503 -K curl.conf "$URL" -d "$HEAD_CALL"
check "token and AUTH=none: its text names both" names_both
check "token and AUTH=none: not healthy either" has_status 503 "$URL/healthz"
stop TERM "$endpoint" || true
sed 's,=/data/,=/nowhere/,' "$WORK/block.start" >"$WORK/nowhere"
serve nowhere "$WORK/nowhere"
endpoint="$started"
check "store that cannot be opened: healthz is 503" has_status 503 "$URL/healthz"
check "store that cannot be opened: a JSON-RPC call is 503" \
    has_status 503 -K curl.conf "$URL" -d '{"jsonrpc":"2.0","id":1,"method":"head","params":["doors"]}'
check "store that cannot be opened: stderr says why (healthz)" \
    grep -q '^stderr \[[0-9]*\] :: secure-log endpoint: not healthy: ' "$WORK/nowhere.log"
check "store that cannot be opened: stderr says why (call)" \
    grep -q 'secure-log endpoint: the store cannot be opened: ' "$WORK/nowhere.log"
stop TERM "$endpoint" || true

# --- the unit -----------------------------------------------------------------------------------------------

if have systemd-analyze; then
    cp "$WORK/block.unit" "$WORK/secure-log.service"
    systemd-analyze verify "$WORK/secure-log.service" >"$WORK/systemd.log" 2>&1 || true
    # It looks at units of this machine as well.
    check "unit: systemd-analyze verify has nothing to say" fails grep -F secure-log "$WORK/systemd.log"
else
    echo "NOT CHECKED: the unit by systemd-analyze, which is not here"
fi
# What systemd makes of ExecStart: lines joined, $$ for $, the quotes gone.
sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' "$WORK/block.unit" | sed -n "s/^ExecStart=\/bin\/sh -c '\(.*\)'\$/\1/p" |
    sed -e 's/\$\$/$/g' -e 's,/usr/local/bin/,,' -e 's,/usr/local/lib/secure-log/,dist/,' \
        -e 's,/var/lib/secure-log-copies,./copies,' -e 's,/var/lib/secure-log,./state,' >"$WORK/unit.sh"
if grep -Eq '/usr|/var|/etc' "$WORK/unit.sh" || [ ! -s "$WORK/unit.sh" ]; then die "ExecStart of the unit was not understood"; fi
mkdir "$WORK/credentials"
cp "$WORK/token" "$WORK/credentials/token"
export CREDENTIALS_DIRECTORY="$WORK/credentials"
# Without a cache folder and a home, as a dynamic user.
sed '1s,^,export HOME=/dev/null; unset XDG_CACHE_HOME; ,' "$WORK/unit.sh" >"$WORK/unit-homeless.sh"
serve unit "$WORK/unit-homeless.sh"
endpoint="$started"
check "unit: its command line takes the token of the credential" has_status 200 -K curl.conf "$URL" -d "$HEAD_CALL"
check "unit: ps does not show the token" hides_token "$endpoint"
check "unit: the log that was there is served" seqno_is 2
stop TERM "$endpoint" || true
: >"$WORK/credentials/token"
starts_not() {
    local rc=0
    sed -i.before 's/exec wasmtime/exec echo would start: wasmtime/' "$WORK/unit.sh"
    in_work sh unit.sh >"$WORK/empty.log" 2>&1 || rc=$?
    [ "$rc" -ne 0 ] && [ ! -s "$WORK/empty.log" ] && grep -q 'exec echo would start' "$WORK/unit.sh"
}
check "unit: an empty credential starts nothing" starts_not

# --- the page itself ----------------------------------------------------------------------------------------

check "page: every marked block was run" all_taken
# limit CONSTANT VALUE-IN-RUST TEXT-ON-THE-PAGE
limit() {
    grep -q "const $1: usize = $2;" "$REPO_ROOT/crates/secure-log-rpc/src/limits.rs" && grep -qF "$3" "$PAGE"
}
limits_agree() {
    limit MAX_REQUEST "64 << 20" "| body of a call | 64 MiB |" &&
        limit MAX_ANSWER "64 << 20" "| answer that a client takes | 64 MiB |" &&
        limit MAX_ROWS 100_000 "| rows in one \`append\` | 100,000 |" &&
        limit MAX_OBJECTS 100_000 "| objects in one \`append\` | 100,000 |" &&
        limit MAX_OBJECT "16 << 20" "| one object | 16 MiB |" &&
        limit MAX_NAME 65_535 "| names of objects, streams, ids | 65,535 bytes |"
}
check "page: limits are those of the code" limits_agree

finish
