"""A host that is the transport: `transport.py URL STREAM` appends the lines of standard input, each `ID TEXT`."""

import json, os, sys
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, Request
from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

ARTIFACT = os.path.join(os.path.dirname(__file__), "..", "dist", "secure-log-remote-host.wasm")
URL, STREAM, TOKEN = *sys.argv[1:], os.environ.get("SECURE_LOG_RPC_TOKEN", "not-set")
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
OPENER = OpenerDirector()  # Without more handlers it follows no redirect, and an error is an answer like others.
for handler in HTTPHandler(), HTTPSHandler():
    OPENER.add_handler(handler)


def rpc(_store, method, params):
    """A result as JSON, or a transport-error. An exception that left it would be a trap, and the end of the log."""
    request = '{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}' % (method, params)
    try:
        with OPENER.open(Request(URL, request.encode(), HEADERS), timeout=30) as answer:
            status, body = answer.status, answer.read().decode()
    except Exception as error:
        why = error if isinstance(error, OSError) else type(error).__name__  # Others may show the token.
        return Variant("unavailable", f"no answer of {URL} to {method}: {why}")
    if status in (401, 403):
        return Variant("denied", f"{URL} answered {status}: SECURE_LOG_RPC_TOKEN is not its token")
    if 300 <= status < 400:
        return Variant("invalid", f"{URL} answered {status}: give the address that it redirects to")
    try:
        answer = json.loads(body)
        if "result" in answer:
            return json.dumps(answer["result"])
        body = json.dumps(answer["error"])
    except (ValueError, LookupError, TypeError):
        pass  # Something in between answered: its status and text say what.
    vars(failure := Record()).update(status=status, body=body.replace(TOKEN, "*"))
    return Variant("failed", failure)


def log(function, *arguments):
    exported = instance.get_export_index(store, "secure-log:log/log@0.1.0")
    answer = instance.get_func(store, instance.get_export_index(store, function, exported))(store, *arguments)
    if isinstance(answer, Variant) and answer.tag != "ok":
        sys.exit(f"{function}: {answer.tag} {getattr(answer.payload, '__dict__', answer.payload)}")
    return answer


store, linker = Store(engine := Engine()), Linker(engine)
linker.add_wasip2()
store.set_wasi(WasiConfig())
with linker.root() as root, root.add_instance("secure-log:log/transport@0.1.0") as transport:
    transport.add_func("rpc", rpc)
instance = linker.instantiate(store, Component.from_file(engine, ARTIFACT))
log("open", "the endpoint knows where")
for event_id, text in (line.rstrip("\n").split(" ", 1) for line in sys.stdin):
    event, what = Record(), {"stream-id": STREAM, "event-type": "line", "payload-encoding": None, "object-ref": None}
    vars(event).update(what, severity="notice", producer="transport.py", payload=text.encode(), id=event_id)
    (entry,) = log("append-batch", [event], [])
    print(f"{event_id} is entry {entry.seqno}:", bytes(log("read-payload", STREAM, entry.seqno)).decode(), flush=True)
