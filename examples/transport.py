"""A log whose store is elsewhere, reached in this program's own way: `transport.py URL` runs dist/secure-log-remote-host.wasm."""

import json, os, sys, urllib.error, urllib.request
from pathlib import Path
from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

ARTIFACT = Path(__file__).parent.parent / "dist" / "secure-log-remote-host.wasm"
URL, TOKEN = sys.argv[1], os.environ.get("SECURE_LOG_RPC_TOKEN", "")


def failed(status: int, body: str):
    answer = Record()
    answer.status, answer.body = status, body
    return Variant("failed", answer)


def rpc(_store, method: str, params: str):
    """secure-log:log/transport.rpc: the result as JSON, or the case of `transport-error`."""
    body = f'{{"jsonrpc":"2.0","id":1,"method":{json.dumps(method)},"params":{params}}}'.encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(URL, body, headers), timeout=30) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        return Variant("denied", text) if error.code in (401, 403) else failed(error.code, text)
    except (OSError, ValueError) as error:
        return Variant("unavailable", f"{URL}: {error}")
    if "error" in answer:
        return failed(200, json.dumps(answer["error"]))
    return json.dumps(answer["result"])


engine = Engine()
store, linker, wasi = Store(engine), Linker(engine), WasiConfig()
linker.add_wasip2()
with linker.root() as root, root.add_instance("secure-log:log/transport@0.1.0") as transport:
    transport.add_func("rpc", rpc)
store.set_wasi(wasi)
instance = linker.instantiate(store, Component.from_file(engine, str(ARTIFACT)))


def call(interface: str, function: str, *arguments):
    exported = instance.get_export_index(store, f"secure-log:log/{interface}@0.1.0")
    answer = instance.get_func(store, instance.get_export_index(store, function, exported))(store, *arguments)
    if isinstance(answer, Variant) and answer.tag != "ok":
        raise SystemExit(f"{interface}.{function}: {answer.tag}: {getattr(answer.payload, 'reason', answer.payload)}")
    return answer


call("log", "open", "elsewhere")
entry = call("log", "append", "doors", "opened", "notice", "controller-7", b"front door")
print(f"entry {entry.seqno} is stored elsewhere; {getattr(call('log', 'verify-chain', 'doors', 1, entry.seqno), 'payloads-checked')} hold")
call("log", "close")
