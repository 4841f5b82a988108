"""A log in Python: `embed.py DIRECTORY` runs dist/secure-log-sqlite.wasm; it sees that directory and nothing else."""

import sys
from pathlib import Path
from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Variant

ARTIFACT = Path(__file__).parent.parent / "dist" / "secure-log-sqlite.wasm"


class Log:
    def __init__(self, directory: str):
        engine = Engine()
        self.store, linker, wasi = Store(engine), Linker(engine), WasiConfig()
        linker.add_wasip2()
        wasi.preopen_dir(directory, "/data")
        wasi.env = {"SECURE_LOG_KEYSTORE_DIR": "/data", "SECURE_LOG_KEYSTORE_GENERATE": "1"}.items()
        self.store.set_wasi(wasi)
        self.instance = linker.instantiate(self.store, Component.from_file(engine, str(ARTIFACT)))

    def __call__(self, interface: str, function: str, *arguments):
        """Calls `interface.function` of wit/log.wit. A log-error is raised with its case and what it says."""
        exported = self.instance.get_export_index(self.store, f"secure-log:log/{interface}@0.1.0")
        index = self.instance.get_export_index(self.store, function, exported)
        answer = self.instance.get_func(self.store, index)(self.store, *arguments)
        if isinstance(answer, Variant) and answer.tag != "ok":
            raise RuntimeError(f"{interface}.{function}: {answer.tag} {getattr(answer.payload, '__dict__', answer.payload)}")
        return answer


log = Log(sys.argv[1])
log("log", "open", "/data/audit.db")
entry = log("log", "append", "doors", "opened", "notice", "controller-7", b"front door")
segment = log("log", "close-segment", "doors")
signed = log("checkpoint", "sign-segment", "audit", getattr(segment, "segment-id"))
key = log("checkpoint", "get-verifier-key", "audit")
log("checkpoint", "verify-checkpoint-chain", [key])
print(f"entry {entry.seqno} is durable, chained, sealed and signed:\n{signed.note}")
log("log", "close")
