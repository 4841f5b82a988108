#!/usr/bin/env bash
# eds as its users get it: installed by cargo, then driven as docs/key-management.md, operations.md, deployment.md,
# mqtt.md and ingest-http.md say, with real servers, nginx, mosquitto and systemd. A block of a page is taken by the
# comment in front of it, `<!-- test: NAME -->`; addresses, placeholders and paths are replaced, nothing else.
#
# Needs what scripts/build-components.sh makes. EDS_UNDER_TEST names an eds to use instead of installing one.
# What cannot be done on this machine is said aloud: NOT CHECKED.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"

export PATH="$SECURE_LOG_CACHE/tools/bin:$PATH:/usr/sbin:/sbin"
need_tools nginx:nginx-light openssl:openssl curl:curl ps:procps mosquitto_pub:mosquitto-clients \
    softhsm2-util:softhsm2
have mosquitto || "$REPO_ROOT/scripts/setup-mosquitto.sh" >/dev/null
ln -s "$REPO_ROOT/dist" "$WORK/"

# Whoever makes these up cannot know them: none may be in a log.
MARK="$(openssl rand -hex 12)"
BROKER_PASSWORD="$(openssl rand -hex 12)"
RPC_TOKEN="$(openssl rand -hex 32)"

# page NAME: the page that blocks are taken from.
page() { PAGE="$REPO_ROOT/docs/$1.md"; }

# run_block NAME SED-ARGUMENT...: runs a block of the page with these replacements; its output goes to NAME.out.
run_block() {
    local name="$1" shown
    shown="${PAGE##*/}: $1"
    shift
    take "$name"
    sed "$@" "$WORK/block.$name" >"$WORK/script.$name"
    if grep -n '<[A-Z_]*>\|…' "$WORK/script.$name"; then die "$shown has placeholders that are not replaced"; fi
    if in_work bash -euo pipefail "script.$name" >"$WORK/$name.out" 2>&1 </dev/null; then
        ok "$shown"
    else
        not_ok "$shown"
        sed 's/^/  /' "$WORK/$name.out"
    fi
}

# --- installing ---------------------------------------------------------------------------------------------

install_eds() {
    cd "$REPO_ROOT" && CARGO_TARGET_DIR="$(verify_target_dir)" cargo install --path crates/eds --locked --root "$WORK/installed"
}
if [ -n "${EDS_UNDER_TEST:-}" ]; then
    mkdir -p "$WORK/installed/bin"
    cp "$EDS_UNDER_TEST" "$WORK/installed/bin/eds"
    echo "NOT CHECKED: installing eds; it is $EDS_UNDER_TEST"
else
    built_before=no
    [ ! -x "$(verify_target_dir)/release/eds" ] || built_before=yes
    (install_eds) >"$WORK/install.out" 2>&1 || { tail -n 40 "$WORK/install.out"; give_up "install: cargo install --path crates/eds"; }
    ok "install: cargo install --path crates/eds"
    if [ "$built_before" = yes ]; then
        check "install: wasmtime is not compiled again" fails grep -q 'Compiling wasmtime' "$WORK/install.out"
    fi
fi
export PATH="$WORK/installed/bin:$PATH"
export HOME="$WORK" XDG_CACHE_HOME="$SECURE_LOG_CACHE/wasmtime"
unset CURL_HOME SECURE_LOG_RPC_TOKEN XDG_CONFIG_HOME SECURE_LOG_KEYSTORE_DIR STATE_DIRECTORY RUST_LOG \
    SOFTHSM2_CONF SECURE_LOG_PKCS11_MODULE
mkdir -p "$XDG_CACHE_HOME"
version_is_right() { [ "$(in_work eds --version)" = "eds $(sed -n 's/^version = "\(.*\)"/\1/p' "$REPO_ROOT/verify/Cargo.toml" | head -n 1)" ]; }
check "eds --version" version_is_right
lists_stacks() {
    local name
    for name in secure-log-sqlite secure-log-file secure-log-remote edgesentry-ingest-sqlite \
        edgesentry-ingest-sqlite-pkcs11-host edgesentry-ingest-remote; do
        in_work eds stack | grep "^$name	" >/dev/null || return 1
    done
}
check "eds stack names what it carries" lists_stacks

# --- devices and servers ------------------------------------------------------------------------------------

public_key() { sed -n 's/.*"public_key_hex": *"\(.*\)".*/\1/p' "$WORK/$1"; }
hex() { od -An -v -tx1 "$1" | tr -d ' \n'; }

# record DEVICE N KEY-FILE [EXTRA...]: signs record N, which follows record N-1 unless EXTRA says something else. The
# body that a server takes is DEVICE-N.body.
record() {
    local name="$1-$2" more=()
    printf 'payload %s of %s' "$MARK" "$name" >"$WORK/$name.payload"
    if [ $# -gt 3 ]; then more=("${@:4}"); elif [ "$2" -gt 1 ]; then more=(--prev-record "$1-$(($2 - 1)).record"); fi
    in_work eds audit sign-record --device-id "$1" --sequence "$2" --payload-file "$name.payload" \
        --object-ref "s3://bucket/$name" --key-file "$3" --out "$name.record" ${more[@]+"${more[@]}"}
    printf '{"record":%s,"raw_payload_hex":"%s"}' "$(cat "$WORK/$name.record")" "$(hex "$WORK/$name.payload")" >"$WORK/$name.body"
}
# device DEVICE N: a key, and records 1 to N.
device() {
    local n
    in_work eds audit keygen --out "$1.key.json"
    for n in $(seq 1 "$2"); do record "$1" "$n" "$1.key.json"; done
}

JSON='Content-Type: application/json'
# answers STATUS TEXT BODY-FILE URL [CURL-ARGUMENT...]: what a server says to a record.
answers() {
    local status="$1" text="$2" body="$3" url="$4" found
    shift 4
    found="$(in_work curl -s -m 30 --noproxy '*' -w '\n%{http_code}' -H "$JSON" --data-binary "@$body" "$@" "$url/api/v1/ingest" || true)"
    case "$found" in
    *"$text"*$'\n'"$status") ;;
    *)
        echo "  not $status with $text: $found"
        return 1
        ;;
    esac
}
takes() { answers 202 '"status":"accepted"' "$@"; }

url_of() { sed -n 's,^listening on ,,p' "$WORK/$1.log" 2>/dev/null | tail -n 1; }
metrics_of() { sed -n 's,^health and metrics on ,,p' "$WORK/$1.log" | tail -n 1; }
has_url() { [ -n "$(url_of "$1")" ]; }
listens_or_died() { has_url "$1" || is_gone "$started"; }
# serve NAME COMMAND...: starts a server that logs to NAME.log, and waits until it listens.
serve() {
    local name="$1"
    shift
    start "$name.log" "$@"
    within 60 listens_or_died "$name" || true
    has_url "$name" || give_up "$name: the server starts"
}
says() { grep -qs "$2" "$WORK/$1.log"; }

# --- keys ---------------------------------------------------------------------------------------------------

page key-management
keys="s,/etc/edgesentry/keys,keys,"
run_block log-keys -e "$keys" -e 's,<NAME_OF_THE_LOG>,example.com/lifts,'
check "log-keys: a verifier key of the log" grep -q '^example.com/lifts+' "$WORK/audit.vkey"
run_block kek -e "$keys"
check "kek: 64 hexadecimal digits" grep -qxE '[0-9a-f]{64}' "$WORK/keys/customer-4711.kek"
run_block kek-destroy -e "$keys"
check "kek-destroy: the key is gone" test ! -e "$WORK/keys/customer-4711.kek"
mkdir "$WORK/copies"
main=(eds serve --addr 127.0.0.1:0 --metrics-addr 127.0.0.1:0 --origin example.com/lifts --sign-with audit --keys keys
    --segment-seconds 1 --backup-dir copies)
serve main "${main[@]}"
main_server="$started"
url="$(url_of main)"

run_block make -e ''
check "make: a key file of mode 0600" test -n "$(find "$WORK/device-lift-01.key.json" -perm 0600)"
check "make: inspect-key shows the same" grep -q "$(public_key device-lift-01.key.json)" "$WORK/make.out"
record lift-01 1 device-lift-01.key.json
check "add: before it, a record is refused" answers 422 'unknown device' lift-01-1.body "$url"
run_block add -e "s/<PUBLIC_KEY_HEX>/$(public_key device-lift-01.key.json)/"
check "add: then it is taken" takes lift-01-1.body "$url"
check "add: and a second time it is a duplicate" answers 422 '"duplicate":true' lift-01-1.body "$url"
old_key_id="$(in_work eds audit devices show lift-01 | sed -n 's/^key \([0-9a-f]*\).*/\1/p')"
# The key is made by the first line of the block, and named by the second.
run_block rotate -e "s/=<NEW_PUBLIC_KEY_HEX>/=\$(sed -n 's|.*\"public_key_hex\": *\"\\\\(.*\\\\)\".*|\\\\1|p' device-lift-01-v2.key.json)/"
record lift-01 2 device-lift-01.key.json
check "rotate: what the old key signed still arrives" takes lift-01-2.body "$url"
record lift-01 3 device-lift-01-v2.key.json
check "rotate: and what the new one signs" takes lift-01-3.body "$url"
run_block revoke-old -e "s/<OLD_KEY_ID>/$old_key_id/"
record lift-01 4 device-lift-01.key.json
check "revoke-old: the old key counts no longer" answers 422 'key revoked' lift-01-4.body "$url"
rm "$WORK/lift-01-4.record"
record lift-01 4 device-lift-01-v2.key.json
check "revoke-old: the new one does" takes lift-01-4.body "$url"
run_block epoch -e ''
anchor="$(in_work eds audit devices show lift-01 | sed -n 's/^next record.*after \([0-9a-f]*\).*/\1/p')"
rm "$WORK/lift-01-1.record"
record lift-01 1 device-lift-01-v2.key.json --prev-hash-hex "$anchor"
check "epoch: the chain begins anew" takes lift-01-1.body "$url"
device lift-02 2
in_work eds audit devices add "lift-02=$(public_key lift-02.key.json)" >/dev/null
check "revoke: a device is taken before" takes lift-02-1.body "$url"
key_id="$(in_work eds audit devices show lift-02 | sed -n 's/^key \([0-9a-f]*\).*/\1/p')"
run_block revoke -e 's/lift-01/lift-02/' -e "s/<KEY_ID>/$key_id/"
check "revoke: and no longer after" answers 422 'revoked' lift-02-2.body "$url"

# A key in a file, then one in an HSM, then a second one there: one log.
mkdir "$WORK/hsm"
on_token=(-e "s,/etc/edgesentry,$WORK/hsm,g" -e "s,/var/lib/edgesentry-token,$WORK/hsm/token,g" \
    -e 's,/var/lib/edgesentry/audit.db,hsm.db,' -e 's,<NAME_OF_THE_LOG>,example.com/lifts,')
more() { in_work eds log append doors "$1" --store hsm.db --origin example.com/lifts >"$WORK/append.out"; }
more one
in_work eds log sign --store hsm.db --identity audit --keys keys >"$WORK/sign.out" 2>&1 || not_ok "to-hsm: signed with the file's key"
more two
run_block softhsm "${on_token[@]}"
check "softhsm: PIN files of mode 0600" test "$(find "$WORK/hsm" -name '*pin' -perm 0600 | wc -l)" -eq 2
check "softhsm: a directory of mode 0700" test "$(stat -c %a "$WORK/hsm/tokens")" = 700
run_block look-at-token "${on_token[@]}"
check "look-at-token: the token and its key" grep -q '^audit	ed25519	pkcs11:token=prod;object=audit$' "$WORK/look-at-token.out"
run_block to-hsm-key "${on_token[@]}"
run_block to-hsm-sign "${on_token[@]}"
run_block to-hsm-verify "${on_token[@]}"
check "to-hsm-verify: both checkpoints" grep -q 'checkpoints: 2 verified, 2 signatures' "$WORK/to-hsm-verify.out"
trusts() {
    local key args=()
    for key in "$@"; do args+=(--trust "$(cat "$WORK/$key.vkey")"); done
    in_work eds log verify --store hsm.db "${args[@]}" >"$WORK/trusts.out" 2>&1
}
check "to-hsm-verify: not with the file's key alone" fails trusts audit
check "to-hsm-verify: nor with the HSM's" fails trusts audit-hsm
run_block rotate-token "${on_token[@]}"
more three
take to-hsm-sign
sed "${on_token[@]}" "$WORK/block.to-hsm-sign" >"$WORK/sign-again"
check "rotate-token: the new key signs" in_work bash -euo pipefail sign-again >"$WORK/sign-again.out" 2>&1
check "rotate-token: with all three the log verifies" trusts audit audit-hsm audit-2
check "rotate-token: and not without the first of the HSM's" fails trusts audit audit-2
if [ -e "$REPO_ROOT/dist/secure-log-sqlite-pkcs11.wasm" ]; then
    more four
    run_block token-dir "${on_token[@]}"
else
    take token-dir
    echo "NOT CHECKED: key-management.md: token-dir, for which dist/secure-log-sqlite-pkcs11.wasm is not built (scripts/setup-tokens.sh)"
fi
check "keys: every marked block was run" all_taken

# --- a copy under load, and back ----------------------------------------------------------------------------

page operations
device lift-03 42
in_work eds audit devices add "lift-03=$(public_key lift-03.key.json)" >/dev/null
send_all() {
    local n
    for n in $(seq 1 "$2"); do
        takes "$1-$n.body" "$3" >>"$WORK/sent-$1.out" || return 1
        echo "$n" >>"$WORK/accepted-$1"
    done
}
accepted() { [ "$(wc -l 2>/dev/null <"$WORK/accepted-$1" || echo 0)" -ge "$2" ]; }
send_all lift-03 40 "$url" &
load=$!
within 20 accepted lift-03 3 || true
run_block backup -e "s,/var/lib/edgesentry-copies,$WORK/copies," -e 's,/var/lib/edgesentry/audit.db,audit.db,'
check "backup: what was sent meanwhile is taken" wait "$load"
check "backup: and what comes after it" takes lift-03-41.body "$url"
copy="$(cd "$WORK" && echo copies/audit-*.db)"
signed_since() { says main 'checkpoint signed'; }
check "backup: checkpoints are signed" within 10 signed_since
run_block look -e "s,audit-….db,$copy,"
check "look: checkpoints were checked" grep -q '^checkpoints: [1-9]\|checkpoint.*hold' "$WORK/look.out"

# The drill: back on another path, with the checklist.
mkdir "$WORK/restored"
cp "$WORK/$copy" "$WORK/restored/audit.db"
holds() { in_work eds log verify --store "$1" --trust "$(cat "$WORK/audit.vkey")" && in_work eds audit verify-store --store "$1"; }
check_holds() { holds "$1" >"$WORK/holds.out" 2>&1 || { cat "$WORK/holds.out"; return 1; }; }
check "drill: the checks hold" check_holds restored/audit.db
next="$(in_work eds audit devices show lift-03 --store restored/audit.db | sed -n 's/^next record[^0-9]*\([0-9]*\).*/\1/p')"
check "drill: the device is at a record that it has, or had" test "${next:-0}" -ge 4 -a "${next:-0}" -le 41
serve restored eds serve --addr 127.0.0.1:0 --store restored/audit.db
restored="$started"
send_the_rest() {
    local n
    for n in $(seq "$next" 42); do takes "lift-03-$n.body" "$(url_of restored)" || return 1; done
}
check "drill: a device that is further is told from where" \
    answers 422 "\"expected\":$next" lift-03-42.body "$(url_of restored)"
check "drill: it sends again from there" send_the_rest
check "drill: the server stops" stop TERM "$restored"

# Forged: one byte of a payload in a copy.
cp "$WORK/$copy" "$WORK/forged.db"
offset="$(grep -abo "$MARK of lift-03-1" "$WORK/forged.db" | head -n 1 | cut -d: -f1)"
printf 'X' | dd of="$WORK/forged.db" bs=1 seek="$offset" conv=notrunc 2>/dev/null
names_the_entry() { ! in_work eds log verify --store forged.db >"$WORK/forged.out" 2>&1 && grep -q 'device/lift-03/1' "$WORK/forged.out"; }
check "drill: a forged store, and verify names where" names_the_entry

# Killed under load: all that was acknowledged is there, once.
device lift-04 60
in_work eds audit devices add "lift-04=$(public_key lift-04.key.json)" >/dev/null
send_all lift-04 60 "$url" >/dev/null 2>&1 &
load=$!
within 20 accepted lift-04 5 || true
check "drill: kill -9 under load" stop KILL "$main_server"
wait "$load" 2>/dev/null || true
serve again "${main[@]}"
main_server="$started"
url="$(url_of again)"
last="$(tail -n 1 "$WORK/accepted-lift-04")"
check "drill: what was acknowledged last is there" answers 422 '"duplicate":true' "lift-04-$last.body" "$url"
check "drill: it is ready" has_status 200 --noproxy '*' "$(metrics_of again)/readyz"
check "drill: it stops in order" stop TERM "$main_server"
check "drill: and what it leaves holds" check_holds audit.db

# --- nginx, in front of two servers over one remote store ---------------------------------------------------

page deployment
TLS_NAMES=(-e 's/ingest\.internal/ingest.example.com/g')
mkdir "$WORK/tls"
run_block own-certificate "${TLS_NAMES[@]}"
mv "$WORK/fullchain.pem" "$WORK/privkey.pem" "$WORK/tls/"

# Loopback has many addresses: nginx is at 127.0.0.1, devices are at 127.0.5.1, strangers at 127.0.6.1.
take behind-nginx
command="$(sed -e 's/10\.0\.1\.11:8080/127.0.0.1:0/' -e 's/10\.0\.1\.2 /127.0.0.1 /' -e 's,10\.20\.0\.0/16,127.0.5.0/24,' "$WORK/block.behind-nginx")"
listens_rpc() { grep -qs '^Serving HTTP on ' "$WORK/$1.log"; }
rpc_url() { sed -n 's,^Serving HTTP on ,,p' "$WORK/$1.log"; }
two_stores=()
remote=""
if have wasmtime && [ -e "$REPO_ROOT/dist/secure-log-rpc-server.wasm" ]; then
    page endpoint
    take faster
    # The block before it makes the folders.
    mkdir -p "$WORK/state"
    printf '%s' "$RPC_TOKEN" >"$WORK/token"
    sed 's/127\.0\.0\.1:8787/127.0.0.1:0/' "$WORK/block.faster" >"$WORK/endpoint"
    start endpoint.log bash endpoint
    within 60 listens_rpc endpoint || give_up "the endpoint of the remote store starts"
    export SECURE_LOG_RPC_TOKEN="$RPC_TOKEN"
    remote="--stack remote --store $(rpc_url endpoint)"
    two_stores=("$remote --gate-id north" "$remote --gate-id south")
    page deployment
else
    echo "NOT CHECKED: two servers on one remote store, for which there is no wasmtime (scripts/setup-wasmtime.sh)"
    two_stores=("--store nginx-1.db" "--store nginx-2.db")
fi
for name in a b c d e f; do device "gate-$name" 5; done
registered=""
for name in a b c d e f; do registered="$registered --device gate-$name=$(public_key "gate-$name.key.json")"; done
serve north bash -c "exec $command ${two_stores[0]} $registered"
north="$started"
serve south bash -c "exec $command ${two_stores[1]} $registered"
south="$started"
ok "behind-nginx: two servers listen"

take nginx
site() {
    sed -e "s,listen      443 ssl,listen 127.0.0.1:$1 ssl," -e "s,10.0.1.11:8080,$(url_of north | sed 's,^http://,,')," \
        -e "s,10.0.1.12:8080,$(url_of south | sed 's,^http://,,')," -e "s,/etc/letsencrypt/live/ingest.example.com,$WORK/tls," \
        "$WORK/block.nginx" >"$WORK/site.conf"
    if grep -Eq '/etc/|10\.0\.| 443 ssl' "$WORK/site.conf"; then die "the nginx block has paths that are not replaced"; fi
    {
        [ "$(id -u)" -ne 0 ] || echo "user root;"
        echo "daemon off; worker_processes 1; pid $WORK/nginx.pid; error_log $WORK/nginx-error.log info;"
        echo "events {} http { access_log $WORK/nginx-access.log;"
        local kind
        for kind in client_body proxy fastcgi uwsgi scgi; do echo "${kind}_temp_path $WORK/nginx-$kind;"; done
        echo "include $WORK/site.conf; }"
    } >"$WORK/nginx.conf"
}
through=(--cacert tls/fullchain.pem)
# on_a_port NAME READY COMMAND...: for programs that do not tell which free port they took. COMMAND PORT starts one, and
# READY says whether it is up. Sets port.
on_a_port() {
    local ready="$1" tries=5
    shift
    while [ "$tries" -gt 0 ]; do
        tries=$((tries - 1))
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        "$@" "$port"
        within 3 "$ready" && return 0
        stop KILL "$started" || true
    done
    return 1
}
begin_nginx() {
    site "$1"
    start nginx.log nginx -p "$WORK" -e "$WORK/nginx-error.log" -c "$WORK/nginx.conf"
}
nginx_is_up() { in_work curl -s -o /dev/null --noproxy '*' "${through[@]}" --connect-to "ingest.example.com:443:127.0.0.1:$port" https://ingest.example.com/; }
on_a_port nginx_is_up begin_nginx || { cat "$WORK/nginx-error.log"; give_up "nginx: starts with the configuration of the page"; }
ok "nginx: starts with the configuration of the page"
through+=(--connect-to "ingest.example.com:443:127.0.0.1:$port")
front=https://ingest.example.com
check "nginx: a record goes through" takes gate-f-1.body "$front" "${through[@]}" --interface 127.0.5.1
check "nginx: a stranger's does not" answers 403 '"status":"forbidden"' gate-f-2.body "$front" "${through[@]}" --interface 127.0.6.1
check "nginx: nor with the address of a device in X-Forwarded-For" answers 403 '"status":"forbidden"' gate-f-2.body "$front" \
    "${through[@]}" --interface 127.0.6.1 -H 'X-Forwarded-For: 127.0.5.1'
check "nginx: nor past nginx" answers 403 '' gate-f-2.body "$(url_of north)" --interface 127.0.6.1 -H 'X-Forwarded-For: 127.0.5.1'
check "nginx: a device may say what it likes there" takes gate-f-2.body "$front" "${through[@]}" --interface 127.0.5.1 \
    -H 'X-Forwarded-For: 127.0.6.1'
source_is_logged() { grep -q '127\.0\.6\.1' "$WORK/north.log" "$WORK/south.log"; }
check "nginx: the log names the stranger" source_is_logged

if [ -n "$remote" ]; then
    device_from=(--interface 127.0.5.1)
    # to NAME DEVICE N: what a server says, as a status, into a file.
    to() {
        in_work curl -s -m 30 --noproxy '*' -o "answer-$1-$2-$3" -w '%{http_code}' -H "$JSON" --data-binary "@$2-$3.body" \
            "${device_from[@]}" "$(url_of "$1")/api/v1/ingest" >"$WORK/status-$1-$2-$3"
    }
    at_once() {
        local one two
        to north gate-a "$1" & one=$!
        to south gate-a "$1" & two=$!
        wait "$one" "$two"
        [ "$(printf '%s\n' "$(cat "$WORK/status-north-gate-a-$1")" "$(cat "$WORK/status-south-gate-a-$1")" | sort | xargs)" = "202 422" ] &&
            grep -q '"duplicate":true' "$WORK/answer-north-gate-a-$1" "$WORK/answer-south-gate-a-$1"
    }
    for n in 1 2 3 4 5; do check "two servers: record $n to both at once: one 202, one duplicate" at_once "$n"; done
    # each SERVER DEVICE: its five records.
    each() {
        local n
        for n in 1 2 3 4 5; do
            to "$1" "$2" "$n"
            [ "$(cat "$WORK/status-$1-$2-$n")" = 202 ] || return 1
        done
    }
    all_at_once() {
        local jobs=() job rc=0
        each north gate-b & jobs+=("$!")
        each south gate-c & jobs+=("$!")
        each north gate-d & jobs+=("$!")
        each south gate-e & jobs+=("$!")
        for job in "${jobs[@]}"; do wait "$job" || rc=1; done
        return "$rc"
    }
    check "two servers: four devices at once, all taken" all_at_once
    # shellcheck disable=SC2086  # words
    in_work eds log backup both.db $remote >"$WORK/both.out" 2>&1 || true
    both_hold() {
        in_work eds log verify --store copies/both.db && in_work eds audit verify-store --store copies/both.db
    }
    verify_both() {
        if both_hold >"$WORK/both-hold.out" 2>&1 && grep -q '27 records' "$WORK/both-hold.out"; then return 0; fi
        cat "$WORK/both.out" "$WORK/both-hold.out"
        return 1
    }
    check "two servers: what they left holds, each record once" verify_both
    streams() { in_work eds log streams --store copies/both.db | cut -f 1 | grep -x "operations/north\|operations/south" | sort | xargs; }
    check "two servers: each has its decisions" test "$(streams)" = "operations/north operations/south"
fi
check "behind-nginx: the servers stop" stop TERM "$north"
stop TERM "$south" || true
unset SECURE_LOG_RPC_TOKEN

# --- under wasmtime serve -----------------------------------------------------------------------------------

page ingest-http
device lift-05 1
if have wasmtime; then
    take start
    sed -e 's/127\.0\.0\.1:8788/127.0.0.1:0/' -e "s/<public key, 64 hex digits>/$(public_key lift-05.key.json)/" \
        -e 's/lift-01/lift-05/' -e 's,/data/audit\.db,/data/ingest.db,' "$WORK/block.start" >"$WORK/ingest-component"
    start component.log bash ingest-component
    component="$started"
    within 60 listens_rpc component || give_up "ingest-http: the component starts"
    cp "$WORK/lift-05-1.body" "$WORK/record.json"
    printf 'noproxy = "*"\nconnect-to = "127.0.0.1:8788:%s"\n' "$(rpc_url component | sed -e 's,^http://,,' -e 's,/$,,')" >"$WORK/.curlrc"
    sed 's/lift-01/lift-05/g' "$PAGE" >"$WORK/ingest-http.md"
    PAGE="$WORK/ingest-http.md"
    console calls
    rm "$WORK/.curlrc"
    check "ingest-http: every marked block was run" all_taken
    stop TERM "$component" || true
else
    echo "NOT CHECKED: docs/ingest-http.md, for which there is no wasmtime (scripts/setup-wasmtime.sh)"
fi

# --- MQTT ---------------------------------------------------------------------------------------------------

page mqtt
mkdir -p "$WORK/mosquitto/conf.d" "$WORK/mosquitto/certs" "$WORK/mosquitto/data"
broker_certificate() (
    cd "$WORK/mosquitto/certs"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=an authority of this test" \
        -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server.key -out request.pem
    printf 'subjectAltName=DNS:localhost\n' >extensions
    openssl x509 -req -in request.pem -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.crt
)
broker_certificate >"$WORK/broker-openssl.out" 2>&1 || give_up "mqtt: certificates"
take broker
take acl
cp "$WORK/block.acl" "$WORK/mosquitto/edgesentry.acl"
: >"$WORK/mosquitto/edgesentry.users"
chmod 0600 "$WORK/mosquitto/edgesentry.users"
for user in eds lift-06 lift-07; do in_work mosquitto_passwd -b mosquitto/edgesentry.users "$user" "$BROKER_PASSWORD"; done
begin_broker() {
    sed -e "s,listener 8883,listener $1 127.0.0.1," -e "s,/etc/mosquitto,$WORK/mosquitto," "$WORK/block.broker" \
        >"$WORK/mosquitto/conf.d/edgesentry.conf"
    {
        [ "$(id -u)" -ne 0 ] || echo "user root"
        printf 'persistence true\npersistence_location %s/mosquitto/data/\nlog_dest stderr\ninclude_dir %s/mosquitto/conf.d\n' "$WORK" "$WORK"
    } >"$WORK/mosquitto/mosquitto.conf"
    start broker.log mosquitto -c "$WORK/mosquitto/mosquitto.conf"
}
broker_is_up() { grep -qs 'mosquitto version .* running' "$WORK/broker.log"; }
on_a_port broker_is_up begin_broker || { cat "$WORK/broker.log"; give_up "mqtt: the broker starts with the configuration of the page"; }
broker_port="$port"
ok "mqtt: the broker starts with the configuration of the page"
device lift-06 3
device lift-07 1
take serve-mqtt
sed -e 's/broker\.example\.com/localhost/' -e "s/8883/$broker_port/" -e "s,/etc/edgesentry/ca\.crt,mosquitto/certs/ca.crt," \
    -e "s/lift-01=[0-9a-f]*/lift-06=$(public_key lift-06.key.json) --device lift-07=$(public_key lift-07.key.json)/" \
    "$WORK/block.serve-mqtt" >"$WORK/serve-mqtt"
mqtt_server() {
    EDS_MQTT_USERNAME=eds EDS_MQTT_PASSWORD="$BROKER_PASSWORD" start "$1.log" bash -c "exec $(cat "$WORK/serve-mqtt") --store mqtt.db"
}
mqtt_server mqtt
mqtt="$started"
check "mqtt: the server subscribes" within 30 says mqtt 'MQTT connected'
as() { printf '%s\n' -h localhost -p "$broker_port" --cafile mosquitto/certs/ca.crt -u "$1" -P "$BROKER_PASSWORD"; }
listening_for=0
# replied TEXT PUBLISHER TOPIC-DEVICE BODY: publishes, and waits for the reply on that topic.
replied() {
    local text="$1" user="$2" topic="devices/$3/ingest" body="$4" log
    listening_for=$((listening_for + 1))
    log="reply-$listening_for"
    # shellcheck disable=SC2046  # words
    start "$log.out" stdbuf -oL mosquitto_sub $(as "$3") -d -t "$topic/response" -q 1 -C 1 -W 15
    local listener="$started"
    within 10 grep -qs SUBACK "$WORK/$log.out" || return 1
    # shellcheck disable=SC2046  # words
    in_work mosquitto_pub $(as "$user") -t "$topic" -q 1 -f "$body" || return 1
    within 15 grep -q '"status"' "$WORK/$log.out" || true
    stop TERM "$listener" || true
    grep -qF -e "$text" "$WORK/$log.out" || { tail -n 3 "$WORK/$log.out"; return 1; }
}
check "mqtt: a record is accepted" replied '"status":"accepted"' lift-06 lift-06 lift-06-1.body
check "mqtt: once more it is a duplicate" replied '"duplicate":true' lift-06 lift-06 lift-06-1.body
check "mqtt: a device cannot send another's record" replied 'auth/device mismatch' lift-06 lift-06 lift-07-1.body
publish_elsewhere() {
    # shellcheck disable=SC2046  # words
    in_work mosquitto_pub $(as lift-06) -t devices/lift-07/ingest -q 1 -f lift-07-1.body
}
publish_elsewhere || true
check "mqtt: (the next record)" replied '"status":"accepted"' lift-06 lift-06 lift-06-2.body
nobody_published() { in_work eds audit devices show lift-07 --store mqtt.db | grep '0 records' >/dev/null; }
check "mqtt: nor publish on its topic" nobody_published
check "mqtt: the device itself can" replied '"status":"accepted"' lift-07 lift-07 lift-07-1.body
anonymous() { in_work mosquitto_pub -h localhost -p "$broker_port" --cafile mosquitto/certs/ca.crt -t devices/lift-06/ingest -m x 2>"$WORK/anonymous.out"; }
check "mqtt: nobody without a password" fails anonymous
check "mqtt: the server stops" stop TERM "$mqtt"
# The session is kept: what comes meanwhile arrives later.
# shellcheck disable=SC2046  # words
in_work mosquitto_pub $(as lift-06) -t devices/lift-06/ingest -q 1 -f lift-06-3.body
mqtt_server mqtt-again
mqtt="$started"
check "mqtt: what came while the server was away" within 30 says mqtt-again 'record accepted'
stop TERM "$mqtt" || true
check_mqtt_store() { in_work eds audit verify-store --store mqtt.db | grep '4 records' >/dev/null; }
check "mqtt: what is stored holds" check_mqtt_store
check "mqtt: every marked block was run" all_taken

# --- the units ----------------------------------------------------------------------------------------------

SD="$WORK/systemd"
mkdir -p "$SD/docs/operations" "$SD/lineage" "$SD/mqtt"
chmod 0755 "$SD"
init=""
# inside COMMAND...: where the systemd under test is the first process, in a folder of the operator's.
inside() {
    # shellcheck disable=SC2016  # for the shell in there
    nsenter -t "$init" -m -p -C -i -u env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        bash -c 'cd "$0" && exec "$@"' "$SD" "$@" </dev/null
}
boots() { [ -s "$SD/init" ] && init="$(cat "$SD/init")"; }
runs() { [ "$(inside systemctl is-system-running 2>/dev/null)" = running ]; }
may_boot() {
    have nsenter && [ -x /lib/systemd/systemd ] && [ "$(id -u)" -eq 0 ] || return 1
    start boot.log unshare --kill-child --fork --pid --mount --cgroup --uts --ipc "$REPO_ROOT/scripts/boot-systemd.sh" "$SD"
    within 10 boots
}
# inside_block NAME SED-ARGUMENT...: as run_block.
inside_block() {
    local name="$1" shown
    shown="systemd: ${PAGE##*/}: $1"
    shift
    take "$name"
    sed "$@" "$WORK/block.$name" >"$SD/script.$name"
    if grep -n '<[A-Z_]*>\|…' "$SD/script.$name"; then die "$shown has placeholders that are not replaced"; fi
    if inside bash -euo pipefail "script.$name" >"$WORK/inside-$name.out" 2>&1; then
        ok "$shown"
    else
        not_ok "$shown"
        sed 's/^/  /' "$WORK/inside-$name.out"
        tail -n 5 "$WORK/unit.log" 2>/dev/null || true
    fi
}
# What a drop-in has it do first, in the sandbox of the unit.
cat >"$SD/sandbox.sh" <<'SANDBOX'
echo "sandbox: user $(id -u)"
for place in / /etc /etc/edgesentry /usr/local/bin /var/lib /var/lib/edgesentry/.. /var/log /root /home /run/shared; do
    if (: >"$place/mark") 2>/dev/null; then echo "sandbox: writes $place"; fi
done
if (: >/var/lib/edgesentry/mark) 2>/dev/null; then echo "sandbox: writes its own folder"; rm /var/lib/edgesentry/mark; fi
if cat /etc/edgesentry/keys/audit.pem >/dev/null 2>&1; then echo "sandbox: reads the signing key"; fi
if grep -q ' / /etc ro,' /proc/self/mountinfo; then echo "sandbox: /etc is read-only"; fi
if ls -d /proc/1 >/dev/null 2>&1; then echo "sandbox: sees others' processes"; fi
echo "sandbox: end"
SANDBOX

# drop_in UNIT: its output to a file, its sandbox tried.
drop_in() {
    inside mkdir -p "/etc/systemd/system/$1.service.d"
    inside bash -c "printf '[Service]\nExecStartPre=/bin/sh /run/shared/sandbox.sh\nStandardOutput=append:%s\nStandardError=append:%s\n' '$SD/$1.log' '$SD/$1.log' >/etc/systemd/system/$1.service.d/test.conf"
    ln -sf "systemd/$1.log" "$WORK/$1.log"
}
property() { inside systemctl show -p "$2" --value "$1"; }
property_is() { [ "$(property "$1" "$2")" = "$3" ]; }
# in_its_sandbox LINE UNIT
in_its_sandbox() { grep -q "^sandbox: $1" "$SD/$2.log"; }
check_sandbox() {
    check "$1: not root" fails in_its_sandbox 'user 0$' "$1"
    check "$1: (its sandbox was tried)" in_its_sandbox 'end' "$1"
    check "$1: it writes nowhere" fails in_its_sandbox 'writes /' "$1"
    check "$1: /etc is read-only" in_its_sandbox '/etc is read-only' "$1"
    check "$1: it reads no keys but its credential" fails in_its_sandbox 'reads' "$1"
    check "$1: it sees nobody's processes" fails in_its_sandbox 'sees' "$1"
}

if ! may_boot; then
    echo "NOT CHECKED: the units, for which no systemd can be started in namespaces here (root, unshare, overlayfs)"
else
    within 20 runs || { cat "$WORK/boot.log"; give_up "systemd: it starts in namespaces of its own"; }
    page deployment
    cp "$WORK/installed/bin/eds" "$SD/eds"
    for unit in edgesentry edgesentry-mqtt; do
        sed -e 's/--addr 0\.0\.0\.0:8443/--addr 127.0.0.1:0/' -e 's/--metrics-addr 127\.0\.0\.1:946./--metrics-addr 127.0.0.1:0/' \
            -e 's,--allowed-sources 10\.0\.0\.0/8,--allowed-sources 127.0.0.1,' \
            -e "s/--broker broker\.example\.com --port 8883/--broker localhost --port $broker_port/" \
            "$REPO_ROOT/docs/operations/$unit.service" >"$SD/docs/operations/$unit.service"
    done
    inside_block folders -e ''
    take deploy-hook
    cp "$WORK/block.deploy-hook" "$SD/hook"
    renew() {
        (cd "$SD/lineage" && bash -e "$WORK/block.own-certificate") >"$WORK/renew.out" 2>&1 &&
            inside env RENEWED_LINEAGE="$SD/lineage" sh hook
    }
    check "edgesentry: a certificate, by the hook" renew
    drop_in edgesentry
    inside_block service -e ''
    check_sandbox edgesentry
    check "edgesentry: it writes its own folder" in_its_sandbox 'writes its own folder' edgesentry
    ready() { has_status 200 --noproxy '*' "$(metrics_of edgesentry)/readyz" >/dev/null; }
    check "edgesentry: ready" within 20 ready
    main_pid="$(property edgesentry MainPID)"
    check "edgesentry: the process is not root's" test "$(inside stat -c %u "/proc/$main_pid")" -ne 0

    device lift-08 4
    inside_block register -e "s/lift-01=<PUBLIC_KEY_HEX>/lift-08=$(public_key lift-08.key.json)/"
    https() {
        local at
        at="$(url_of edgesentry)"
        printf '%s\n' --cacert systemd/lineage/fullchain.pem --connect-to "ingest.internal:8443:${at#https://}"
    }
    # shellcheck disable=SC2046  # words
    over_tls() { local what="$1"; shift; "$what" "$@" https://ingest.internal:8443 $(https); }
    refuses() { answers 422 "$1" "$2" "${@:3}"; }
    check "edgesentry: a record over TLS" over_tls takes lift-08-1.body
    check "edgesentry: a new certificate" renew
    inside systemctl reload edgesentry
    with_the_new_one() { over_tls takes lift-08-2.body >/dev/null || over_tls refuses '"duplicate":true' lift-08-2.body >/dev/null; }
    check "edgesentry: systemctl reload puts it to use" within 4 with_the_new_one
    check "edgesentry: by the same process" property_is edgesentry MainPID "$main_pid"

    # The main process alone: the cgroups of a namespace do not list the others.
    check "edgesentry: SIGKILL" inside systemctl kill -s KILL --kill-who=main edgesentry
    restarted() { [ "$(property edgesentry MainPID)" != "$main_pid" ] && property_is edgesentry ActiveState active; }
    check "edgesentry: systemd starts it again" within 20 restarted
    check "edgesentry: what was taken is there" over_tls refuses '"duplicate":true' lift-08-2.body
    check "edgesentry: once restarted, by systemd" property_is edgesentry NRestarts 1

    check "edgesentry: systemctl restart" inside systemctl restart edgesentry
    check "edgesentry: what waited is signed when it stops" says edgesentry 'checkpoint signed'

    page operations
    inside_block backup -e ''
    inside bash -c 'cp /var/lib/edgesentry-copies/audit-*.db .'
    name="$(cd "$SD" && echo audit-*.db)"
    check "edgesentry: a record after the copy" over_tls takes lift-08-3.body
    origin="$(inside eds log head --store "$name" | sed -n 's/^origin[[:space:]]*//p')"
    page key-management
    sed -n 2p "$WORK/block.log-keys" >"$SD/show-key"
    inside bash -euo pipefail -c "$(sed "s,<NAME_OF_THE_LOG>,$origin," "$SD/show-key")"
    page operations
    inside_block look -e "s/audit-….db/$name/"
    inside_block restore -e "s/audit-….db/$name/"
    check "edgesentry: restored, it is ready" within 20 ready
    check "edgesentry: it expects what the copy does not have" over_tls refuses '"expected":3' lift-08-4.body
    check "edgesentry: and takes it again" over_tls takes lift-08-3.body

    check "edgesentry: systemctl stop" inside systemctl stop edgesentry
    check "edgesentry: in order" property_is edgesentry Result success
    check "edgesentry: with exit code 0" property_is edgesentry ExecMainStatus 0
    check "edgesentry: it says so" says edgesentry '"stopped"'

    # The same store, signed with a key on a token from now on.
    page key-management
    inside_block softhsm -e ''
    page deployment
    sed -e 's/--addr 0\.0\.0\.0:8443/--addr 127.0.0.1:0/' -e 's/--metrics-addr 127\.0\.0\.1:9464/--metrics-addr 127.0.0.1:0/' \
        -e 's,--allowed-sources 10\.0\.0\.0/8,--allowed-sources 127.0.0.1,' \
        "$REPO_ROOT/docs/operations/edgesentry-token.conf" >"$SD/docs/operations/edgesentry-token.conf"
    : >"$SD/edgesentry.log"
    inside_block token-unit -e ''
    check "edgesentry: ready, with a token" within 20 ready
    check "edgesentry: a record, with a token" over_tls takes lift-08-4.body
    check "edgesentry: systemctl stop, with a token" inside systemctl stop edgesentry
    check "edgesentry: a checkpoint signed with the token's key" says edgesentry 'checkpoint signed'
    inside cp -p /etc/edgesentry/pin pin-of-the-token
    inside bash -c 'echo 0123456789 >/etc/edgesentry/pin'
    check "edgesentry: it does not start with a wrong PIN" fails inside systemctl start edgesentry
    sleep 3
    check "edgesentry: it says so by its exit code" property_is edgesentry ExecMainStatus 77
    check "edgesentry: and is not started again" property_is edgesentry NRestarts 0
    check "edgesentry: it stays down" property_is edgesentry ActiveState failed
    check "edgesentry: it tried once" test "$(grep -c 'refuses the PIN' "$SD/edgesentry.log")" -eq 1
    inside cp -p pin-of-the-token /etc/edgesentry/pin
    check "edgesentry: it starts with the right one" inside systemctl start edgesentry
    check "edgesentry: systemctl stop, at last" inside systemctl stop edgesentry

    # The unit for MQTT, at the broker of before.
    cp "$WORK/mosquitto/certs/ca.crt" "$SD/broker-ca.pem"
    printf '%s' "$BROKER_PASSWORD" >"$SD/mqtt/password"
    inside install -m 0644 broker-ca.pem /etc/edgesentry/broker-ca.pem
    inside install -m 0600 mqtt/password /etc/edgesentry/mqtt-password
    inside install -m 0644 docs/operations/edgesentry-mqtt.service /etc/systemd/system/
    drop_in edgesentry-mqtt
    inside systemctl daemon-reload
    check "edgesentry-mqtt: starts" inside systemctl start edgesentry-mqtt
    connects() { within 15 says edgesentry-mqtt 'MQTT connected' || { tail -n 5 "$SD/edgesentry-mqtt.log"; return 1; }; }
    check "edgesentry-mqtt: connects, with the password of its credential" connects
    check_sandbox edgesentry-mqtt
    inside eds audit devices add "lift-06=$(public_key lift-06.key.json)" --store /var/lib/edgesentry-mqtt/audit.db \
        >"$WORK/mqtt-unit.out" 2>&1 || not_ok "edgesentry-mqtt: a device is registered"
    check "edgesentry-mqtt: a record" replied '"status":"accepted"' lift-06 lift-06 lift-06-1.body
    check "edgesentry-mqtt: systemctl stop" inside systemctl stop edgesentry-mqtt
    check "edgesentry-mqtt: in order" property_is edgesentry-mqtt Result success
fi
page deployment

# --- secrets ------------------------------------------------------------------------------------------------

# secrets: a line each, of everything that only its owner knows.
secrets() {
    sed -n 's/.*"private_key_hex": *"\(.*\)".*/\1/p' "$WORK"/*.key.json
    find "$WORK/keys" "$WORK/tls" "$WORK/mosquitto/certs" "$SD/lineage" \( -name '*.key' -o -name 'privkey.pem' -o -path '*/keys/*.pem' \) \
        -exec sed -n '2p' {} \;
    find "$WORK/hsm" "$SD" \( -name pin -o -name so-pin -o -name pin-of-the-token \) -exec cat {} \; 2>/dev/null
    printf '%s\n' "$MARK" "$(printf '%s' "$MARK" | od -An -v -tx1 | tr -d ' \n')" "$BROKER_PASSWORD" "$RPC_TOKEN"
}
secrets | grep . >"$WORK/secrets"
check "secrets: (there are some)" test "$(wc -l <"$WORK/secrets")" -gt 15
check "secrets: (there are logs)" grep -q 'record accepted' "$WORK"/*.log
# Some command may show a secret because it is asked to: inspect-key is.
logs() { find "$WORK" \( -name '*.log' -o -name '*.out' \) -not -name make.out -not -name 'block.*'; }
no_secret() {
    local found
    found="$(logs | xargs grep -lFf "$WORK/secrets" || true)"
    [ -z "$found" ] || { echo "  $found"; return 1; }
}
check "secrets: none is in a log or an output" no_secret

finish
