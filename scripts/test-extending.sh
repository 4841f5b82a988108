#!/usr/bin/env bash
# Runs docs/write-a-keystore.md, docs/write-a-transport.md and docs/wasmtime.md as they stand, and what the examples of
# the first two do with hostile input, lost answers and an endpoint that is killed. Ports are replaced, nothing else.
# Needs dist/, `wac` and `wasmtime` (in the cache or on the path); without packages for Python or without `eds` it says
# what was not checked.
set -euo pipefail
# shellcheck source=scripts/env.sh
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
# shellcheck source=scripts/lib-checks.sh
. "$REPO_ROOT/scripts/lib-checks.sh"

need_tools openssl:openssl curl:curl xxd:xxd basenc:coreutils ps:procps
examples_dir="$(target_dir)/examples"
hosts="$(verify_target_dir)/release"
venv="$("$REPO_ROOT/scripts/setup-python.sh")" || venv=""
export PATH="${venv:+$venv/bin:}$SECURE_LOG_CACHE/tools/bin:$hosts:$PATH" CARGO_TERM_COLOR=never
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
export HOME="$WORK" XDG_CACHE_HOME="$SECURE_LOG_CACHE/wasmtime"
unset CURL_HOME XDG_CONFIG_HOME RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR
unset "${!SECURE_LOG_RPC_@}" "${!SECURE_LOG_STORE_@}" "${!SECURE_LOG_KEYSTORE_@}" "${!SECURE_LOG_WITNESS_@}" "${!EDS_@}"
have wac || give_up "wac is there (scripts/test.sh tools)"
have wasmtime || give_up "wasmtime is there (scripts/setup-wasmtime.sh)"
mkdir -p "$XDG_CACHE_HOME" "$examples_dir"
ln -s "$REPO_ROOT/dist" "$REPO_ROOT/docs" "$REPO_ROOT/wit" "$REPO_ROOT/examples" "$WORK/"
# What is compiled is kept from one run to the next.
ln -s "$examples_dir" "$WORK/build"

# page NAME [PORT=PORT...]: the page of docs/ that blocks are taken from, with other ports than it has.
page() {
    local pair
    PAGE="$WORK/pages/$1"
    mkdir -p "$WORK/pages"
    cp "$REPO_ROOT/docs/$1" "$PAGE"
    for pair in "${@:2}"; do sed -i.before "s/127\.0\.0\.1:${pair%=*}/127.0.0.1:${pair#*=}/g" "$PAGE"; done
}
# run NAME: a block of the page.
run() {
    take "$1"
    if in_work bash -euo pipefail "$WORK/block.$1" >"$WORK/$1.log" 2>&1 </dev/null; then
        ok "${PAGE##*/}: $1"
    else
        not_ok "${PAGE##*/}: $1"
        cat "$WORK/$1.log"
    fi
}
# says FILE PATTERN: and what it says otherwise.
says() { grep -Eq -e "$2" "$WORK/$1" || { sed 's/^/  /' "$WORK/$1"; return 1; }; }
quietly() { in_work "$@" >"$WORK/quietly.out" 2>&1 || { cat "$WORK/quietly.out"; return 1; }; }
# A block of the page that Python is needed for, where there is none.
without() {
    local name
    for name in "$@"; do take "$name"; done
    echo "NOT CHECKED: $* of ${PAGE##*/}, since packages for Python cannot be had here"
}

listens() { grep -qs '^Serving HTTP on ' "$WORK/$1"; }
port_of() { sed -n 's,^Serving HTTP on http://127\.0\.0\.1:\([0-9]*\)/$,\1,p' "$WORK/$1"; }
# serve LOG BLOCK [PORT]: starts a server by a block of the page, on a free port or this one.
serve() {
    grep -q -- '--addr 127\.0\.0\.1:[0-9]' "$WORK/block.$2" || die "block '$2' does not say where it listens"
    rm -f "$WORK/$1"
    start "$1" bash -c "$(sed "s/--addr 127\.0\.0\.1:[0-9]*/--addr 127.0.0.1:${3:-0}/" "$WORK/block.$2")"
    if within 120 listens "$1"; then ok "$2: the server listens"; else give_up "$2: the server listens"; fi
}

# --- a keystore ---------------------------------------------------------------------------------------------

page write-a-keystore.md
run build
[ -s "$WORK/my_keystore.wasm" ] || give_up "write-a-keystore.md: there is a keystore"
if [ -n "$venv" ]; then console try; else without try; fi
run plug
if have eds; then
    run use
    check "use: streams and segment are verified" says use.log '^doors: 2 entries, 2 payloads, 1 segments hold'
    run trust
    check "trust: the checkpoint verifies" says trust.log '^checkpoints: 1 verified, 1 signatures; not checked: 0 '
    check "use: no key was made" test -z "$(ls -A "$WORK/none")"
    # signs SEEDS IDENTITY...: one signature more, on what is new.
    signs() {
        local seeds="$1" identity names=()
        shift
        for identity in "$@"; do names+=(--identity "$identity"); done
        in_work eds log append doors again --producer door-7 --stack my-log.wasm --store my.db >"$WORK/signs.out" 2>&1
        in_work env SECURE_LOG_KEYSTORE_GENERATE=1 SECURE_LOG_SEEDS="$seeds" eds log sign "${names[@]}" --keys none \
            --stack my-log.wasm --store my.db >"$WORK/signs.out" 2>&1
    }
    seed="$(cat "$WORK/seed")"
    refuses() {
        signs "$1" "$2" && return 1
        says signs.out "$3" && ! grep -q "${seed:4:8}" "$WORK/signs.out"
    }
    check "eds: a key that is not there is missed" refuses "audit=$seed" nobody '^error: not-found .*"nobody"'
    check "eds: a seed that is none is refused, and not shown" refuses "audit=${seed}0" audit 'SECURE_LOG_SEEDS: key 1 is not'
    check "eds: no variable" refuses "" audit 'SECURE_LOG_SEEDS is not set'
    check "eds: keys change with both" signs "audit=$seed;new=$(openssl rand -hex 32)" audit new
    both_signed() { [ "$(grep -c '^— example.com/audit ' "$WORK/signs.out")" -eq 2 ]; }
    check "eds: the checkpoint has both signatures" both_signed
    sealed() {
        in_work env SECURE_LOG_SEEDS="audit=$seed" eds log create sealed --tier protected --keys none --stack my-log.wasm \
            --store my.db >"$WORK/sealed.out" 2>&1 && return 1
        says sealed.out 'denied: .*only signs'
    }
    check "eds: a sealed stream is refused in words" sealed
    check "eds: the log holds after all of that" quietly eds log verify --stack my-log.wasm --store my.db
else
    take use
    take trust
    echo "NOT CHECKED: the keystore in a log by eds, which is not built"
fi
check "write-a-keystore.md: every marked block was run" all_taken

# --- a transport --------------------------------------------------------------------------------------------

# Between a client and the endpoint: passes calls on, and loses the answer to the first `append`, whose connection it
# closes. `once` goes on after that, `end` is gone. `echo` passes nothing on, and repeats the token in an error; `away`
# redirects to the endpoint; `half` answers less than it says.
cat >"$WORK/lossy.py" <<'END'
import http.client, http.server, os, sys

port, mode, lost = int(sys.argv[1]), sys.argv[2], False


class Lossy(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global lost
        call = self.rfile.read(int(self.headers["content-length"]))
        if mode == "echo":
            return self.answer(500, self.headers["authorization"].encode())
        if mode == "half":
            return self.answer(200, b'{"jsonrpc"', 40)
        if mode == "away":
            self.send_response(302)
            self.send_header("location", f"http://127.0.0.1:{port}/")
            return self.end_headers()
        headers = {name: self.headers[name] for name in ("content-type", "authorization")}
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/", call, headers)
        answer = connection.getresponse()
        body = answer.read()
        if b'"method":"append"' in call and not lost:
            lost = True
            if mode == "end":
                os._exit(0)
            self.close_connection = True
            return
        self.answer(answer.status, body)

    def answer(self, status, body, length=None):
        self.send_response(status)
        self.send_header("content-length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Lossy)
print(f"Serving HTTP on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
END
lossy() {
    rm -f "$WORK/lossy.log"
    start lossy.log python lossy.py "$1" "$2"
    within 30 listens lossy.log || give_up "the lossy way to the endpoint is there"
}
# appends PORT TEXT: what the example says to these lines.
appends() { printf '%b' "$2" | in_work python examples/transport.py "http://127.0.0.1:$1" doors >"$WORK/appends.out" 2>&1; }
fails_with() {
    appends "$1" "$2" && return 1
    says appends.out "$3" && ! grep -q "$SECURE_LOG_RPC_TOKEN" "$WORK/appends.out"
}
# Entries of the stream, as the endpoint counts them.
entries() {
    curl -s -H "Authorization: Bearer $SECURE_LOG_RPC_TOKEN" -H 'Content-Type: application/json' \
        "http://127.0.0.1:$1" -d '{"method":"head","params":["doors"]}' | sed -n 's/.*"seqno":\([0-9]*\).*/\1/p'
}
are() { [ "$(entries "$1")" = "$2" ] || { echo "  there are $(entries "$1") entries"; return 1; }; }

page write-a-transport.md
take endpoint
serve endpoint.log endpoint
endpoint="$started"
port="$(port_of endpoint.log)"
page write-a-transport.md "8787=$port"
run with-token
SECURE_LOG_RPC_TOKEN="$(cat "$WORK/token")"
export SECURE_LOG_RPC_TOKEN
if [ -n "$venv" ]; then
    check "transport.py: is shorter than 60 lines" test "$(wc -l <"$REPO_ROOT/examples/transport.py")" -lt 60
    console use
    denied() { SECURE_LOG_RPC_TOKEN=another fails_with "$port" 'x no\n' '^open: denied .*SECURE_LOG_RPC_TOKEN'; }
    check "transport.py: another token is denied" denied
    garbled() { SECURE_LOG_RPC_TOKEN=$'hunt\rer2' fails_with "$port" 'x no\n' '^open: unavailable ' && fails grep -q er2 "$WORK/appends.out"; }
    check "transport.py: a token that no header can carry is not shown" garbled
    check "transport.py: the same id with another text is a conflict" fails_with "$port" 'e-1 other\n' '^append-batch: conflict '
    check "transport.py: nothing came of either" are "$port" 3

    lossy "$port" echo
    check "transport.py: a server that repeats the token does not get it into an error" fails_with "$(port_of lossy.log)" 'x no\n' '^open: storage '
    stop KILL "$started"
    lossy "$port" away
    check "transport.py: a redirect is not followed" fails_with "$(port_of lossy.log)" 'x no\n' '^open: invalid .*answered 302'
    stop KILL "$started"
    lossy "$port" half
    check "transport.py: half an answer is none" fails_with "$(port_of lossy.log)" 'x no\n' '^open: unavailable '
    stop KILL "$started"
    lossy "$port" once
    way="$started"
    looks() { appends "$1" 'e-4 cellar\n' && says appends.out '^e-4 is entry 4: cellar$'; }
    check "a lost answer: the core finds its entry" looks "$(port_of lossy.log)"
    check "a lost answer: nothing is doubled" are "$port" 4
    stop KILL "$way"
    lossy "$port" end
    check "no endpoint after it: is an error that says so" fails_with "$(port_of lossy.log)" 'e-5 attic\n' '^append-batch: unavailable '
    finds() { appends "$1" 'e-5 attic\n' && says appends.out '^e-5 is entry 5: attic$'; }
    check "no endpoint after it: the same event again is the same entry" finds "$port"
    check "no endpoint after it: nothing is doubled" are "$port" 5

    # A client in the middle of its work, whose endpoint is killed.
    mkfifo "$WORK/lines"
    rm -f "$WORK/client.out"
    start client.out bash -c "python examples/transport.py http://127.0.0.1:$port doors <lines; echo ended with \$?"
    exec 8>"$WORK/lines"
    echo "e-6 roof" >&8
    if within 60 grep -qs '^e-6 is entry 6: roof$' "$WORK/client.out"; then ok "killed: a client works"; else give_up "killed: a client works"; fi
    check "killed: the endpoint is gone" stop KILL "$endpoint"
    echo "e-7 yard" >&8
    exec 8>&-
    check "killed: the client ends" within 60 grep -qs '^ended with 1$' "$WORK/client.out"
    check "killed: and says that nobody answered" says client.out '^append-batch: unavailable no answer of .* to append: .*refused'
    serve endpoint.log endpoint "$port"
    endpoint="$started"
    again() { appends "$port" 'e-6 roof\ne-7 yard\ne-7 yard\n' && [ "$(tail -n 3 "$WORK/appends.out")" = "$1" ]; }
    check "killed: after it is back, each event is there once" again $'e-6 is entry 6: roof\ne-7 is entry 7: yard\ne-7 is entry 7: yard'
    check "killed: and no more than those" are "$port" 7
else
    without use
fi

run plug
plugged() { ! grep -aq 'secure-log:log/transport@0.1.0' "$WORK/imports" && grep -aq "$1" "$WORK/imports"; }
if have eds; then
    in_work eds stack http-log.wasm | sed -n '/^imports:/,/^exports:/p' >"$WORK/imports"
    check "plug: the composed log imports wasi:http and no transport" plugged 'wasi:http/outgoing-handler'
fi
if [ -n "$venv" ]; then
    run component
    console alone
    # alone WHAT PATTERN [VARIABLE=VALUE...] -- FLAG...: one call of the component.
    alone() {
        local pattern="$1" with=()
        shift
        while [ "$1" != -- ]; do with+=("$1") && shift; done
        shift
        in_work env SECURE_LOG_RPC_URL="http://127.0.0.1:$port/" ${with[@]+"${with[@]}"} wasmtime run "$@" --env SECURE_LOG_RPC_URL \
            --env SECURE_LOG_RPC_TOKEN --invoke 'rpc("head", "[\"doors\"]")' my-transport.wasm >"$WORK/alone.out" 2>&1 || true
        says alone.out "$pattern" && ! grep -q "$SECURE_LOG_RPC_TOKEN" "$WORK/alone.out"
    }
    check "component: without sockets it is unavailable" alone '^err\(unavailable\(.*Permission denied' --
    check "component: another token is denied" alone '^err\(denied\(.*401' SECURE_LOG_RPC_TOKEN=another -- -S inherit-network
    garbled_there() { alone '^err\(unavailable\(' SECURE_LOG_RPC_TOKEN=$'hunt\rer2' -- -S inherit-network && fails grep -q er2 "$WORK/alone.out"; }
    check "component: a token that no header can carry is not shown" garbled_there
    check "component: nobody listens" alone '^err\(unavailable\(.*refused' SECURE_LOG_RPC_URL=http://127.0.0.1:1/ -- -S inherit-network
    for url in "" https://127.0.0.1/ http://192.0.2.1/ http://u:hunter2@127.0.0.1/ http://127.0.0.1:99999/ 'http://[::1' localhost; do
        refused() { alone '^err\(invalid\("SECURE_LOG_RPC_URL' "SECURE_LOG_RPC_URL=$1" -- -S inherit-network && fails grep -q hunter2 "$WORK/alone.out"; }
        check "component: '$url' is refused" refused "$url"
    done
    lossy "$port" echo
    check "component: a server that repeats the token does not get it into an error" alone '^err\(failed\({status: 500' \
        SECURE_LOG_RPC_URL="http://127.0.0.1:$(port_of lossy.log)/" -- -S inherit-network
    stop KILL "$started"
    lossy "$port" away
    check "component: a redirect is not followed" alone '^err\(invalid\(.*answered 302' \
        SECURE_LOG_RPC_URL="http://127.0.0.1:$(port_of lossy.log)/" -- -S inherit-network
    stop KILL "$started"
    lossy "$port" half
    check "component: half an answer is none" alone '^err\(unavailable\(.*ends early' \
        SECURE_LOG_RPC_URL="http://127.0.0.1:$(port_of lossy.log)/" -- -S inherit-network
    stop KILL "$started"
    lossy "$port" end
    way="$started"
    take relay
    sed -i.before "s/127\.0\.0\.1:$port/127.0.0.1:$(port_of lossy.log)/" "$WORK/block.relay"
    serve relay.log relay
    relay="$started"
    check "relay: an answer that is lost on the way is unavailable" fails_with "$(port_of relay.log)" 'e-8 shed\n' '^append-batch: unavailable '
    stop KILL "$relay"
    stop KILL "$way" || true
    page write-a-transport.md "8787=$port"
    take relay
    serve relay.log relay
    page write-a-transport.md "8787=$port" "8788=$(port_of relay.log)"
    console through
    check "relay: nothing is doubled" are "$port" 9
else
    without component alone relay through
fi
check "write-a-transport.md: every marked block was run" all_taken
stop TERM "$endpoint"
unset SECURE_LOG_RPC_TOKEN

# --- the stock command line ---------------------------------------------------------------------------------

page wasmtime.md
rm -rf "$WORK/keys" "$WORK/data" "$WORK/state" "$WORK/token"
console keystore
run openssl
check "openssl: the signature verifies" says openssl.log '^Signature Verified Successfully'
console encoder
console names
console state
console does-not-work

hides_token() {
    ps -A -o args= >"$WORK/processes"
    says processes '^wasmtime serve .*secure-log-rpc-server\.wasm' && fails grep -qF -f "$WORK/token" "$WORK/processes"
}
servers=() ports=()
run token
for server in rpc-server=8787 ingest-server=8788 witness=8789; do
    name="${server%=*}"
    take "$name"
    serve "$name.log" "$name"
    servers+=("$started")
    ports+=("${server#*=}=$(port_of "$name.log")")
done
check "rpc-server: ps does not show the token" hides_token
page wasmtime.md "${ports[@]}"
console rpc-calls
console ingest-calls
console witness-calls
witness_key() {
    local key
    key="$(openssl pkey -in "$WORK/witness/keys/witness.pem" -pubout -outform DER | tail -c 32 | xxd -p -c 64)"
    # The key of a cosigner begins with a byte that says so (C2SP tlog-cosignature).
    [ "$(curl -s "http://127.0.0.1:${ports[2]#*=}/key" | cut -d + -f 3- | base64 -d | xxd -p -c 64)" = "04$key" ]
}
check "witness: its verifier key is that of its file" witness_key
for server in "${servers[@]}"; do stop TERM "$server"; done
sed -i.before 's,--dir \./state::,--dir ./nowhere::,' "$WORK/block.rpc-server"
serve nowhere.log rpc-server
check "a directory that is not there: each request is a 500" has_status 500 "http://127.0.0.1:$(port_of nowhere.log)/healthz"
check "wasmtime.md: every marked block was run" all_taken
finish
