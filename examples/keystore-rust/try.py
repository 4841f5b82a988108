"""Tries a keystore component by itself: `try.py KEYSTORE.wasm`. OpenSSL says whether keys and signatures are right.

The rules are those of crates/secure-log-keystore for Ed25519, with what is particular to this one: its variable.
"""

import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Variant

ENGINE = Engine()
COMPONENT = Component.from_file(ENGINE, sys.argv[1])
FIRST, SECOND = secrets.token_hex(32), secrets.token_hex(32).upper()
GOOD = f"first={FIRST};second key=2={SECOND}"
NAMES = ["first", "second key=2"]


class Keystore:
    """An instance that sees one variable and nothing else. An answer is a value, or a Variant with an error."""

    def __init__(self, seeds):
        self.store, linker, wasi = Store(ENGINE), Linker(ENGINE), WasiConfig()
        linker.add_wasip2()
        wasi.env = {} if seeds is None else {"SECURE_LOG_SEEDS": seeds}.items()
        self.store.set_wasi(wasi)
        self.instance = linker.instantiate(self.store, COMPONENT)

    def __call__(self, interface, function, *arguments):
        exported = self.instance.get_export_index(self.store, f"keys:keystore/{interface}@0.1.0")
        index = self.instance.get_export_index(self.store, function, exported)
        return self.instance.get_func(self.store, index)(self.store, *arguments)

    def public_key(self, name):
        key = self("signer", "get-key", name)
        assert not isinstance(key, Variant), f"get-key {name!r}: {key}"
        assert key.algorithm == "ed25519", key.algorithm
        return bytes(getattr(key, "public-key"))

    def sign(self, name, message):
        signature = self("signer", "sign", name, message)
        assert not isinstance(signature, Variant), f"sign {name!r}: {signature}"
        return bytes(signature)


def refused(answer, *cases):
    """The text of an error that is one of these cases and shows no seed."""
    assert isinstance(answer, Variant) and answer.tag in cases, f"{answer} is none of {cases}"
    shown = [part for seed in (FIRST, SECOND) for part in (seed[:6], seed[-6:]) if part.lower() in answer.payload.lower()]
    assert not shown, f"an error shows a seed: {answer.payload}"
    assert len(answer.payload) < 2_000, f"an error has {len(answer.payload)} characters"
    return answer.payload


def verifies(public_key, message, signature):
    with tempfile.TemporaryDirectory() as directory:
        paths = [str(Path(directory, name)) for name in ("key", "message", "signature")]
        for path, data in zip(paths, (public_key, message, signature)):
            Path(path).write_bytes(data)
        command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey {} -in {} -sigfile {}".format(*paths)
        return subprocess.run(command.split(), capture_output=True).returncode == 0


def keys_are_those_of_the_seeds():
    keystore = Keystore(GOOD)
    for name, seed in zip(NAMES, (FIRST, SECOND)):
        pkcs8 = bytes.fromhex("302e020100300506032b657004220420" + seed)
        command = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
        expected = subprocess.run(command, input=pkcs8, capture_output=True, check=True).stdout
        assert keystore.public_key(name) == expected, f"{name!r} is another key, or no SubjectPublicKeyInfo"


def messages_of_every_size_are_signed():
    # Where 32 or 64 bytes verify as a message, they were not taken for a digest.
    for name in NAMES:
        key = Keystore(GOOD).public_key(name)
        for length in (1, 31, 32, 33, 48, 63, 64, 65, 4096, 65_536, 1 << 20):
            message = secrets.token_bytes(length)
            signature = Keystore(GOOD).sign(name, message)
            assert verifies(key, message, signature), f"{length} bytes with {name!r}"
    assert len(Keystore(GOOD).sign("first", b"")) == 64


def a_signature_fits_its_message_and_key_alone():
    keystore = Keystore(GOOD)
    first, second = map(keystore.public_key, NAMES)
    signature = keystore.sign("first", b"one message")
    assert signature == keystore.sign("first", b"one message"), "Ed25519 signatures repeat"
    assert verifies(first, b"one message", signature)
    assert not verifies(first, b"one messagf", signature)
    assert not verifies(second, b"one message", signature)


def looking_makes_no_key():
    keystore = Keystore(GOOD)
    for _ in range(2):
        for call in (("get-key", "third"), ("sign", "third", b"message")):
            assert "third" in refused(keystore("signer", *call), "key-not-found")


def hostile_names_do_no_harm():
    keystore = Keystore(GOOD)
    for name in ("", "x" * 256, "🔑" * 64, "x" * 1_000_000):
        refused(keystore("signer", "get-key", name), "invalid")
        refused(keystore("signer", "sign", name, b"message"), "invalid")
    names = (".", "../x", "\0", "a\nb", "first\0", " first", "First", "first=", f"first={FIRST}", ";", "ключ", "x" * 255)
    for name in names:
        answer = keystore("signer", "sign", name, b"message")
        # Whoever asks for a seed knows it; it does not come from here.
        assert isinstance(answer, Variant) and answer.tag == "key-not-found", f"{name!r}: {answer}"
    assert keystore.sign("first", b"message"), "it signs after all of them"


def a_variable_that_makes_no_sense_is_refused_without_repeating_it():
    bad = [None, "", ";", "first", FIRST, f"first={FIRST[:-1]}", f"first={FIRST}0", f"first=0x{FIRST[2:]}", f"={FIRST}"]
    bad += [f"first={FIRST};", f"first={FIRST}\n", f"first={FIRST};first={SECOND}", f"first={FIRST};second={SECOND[:-1]}g"]
    bad += [f"{'x' * 256}={FIRST}", f"first={'é' * 32}", f"first={'+1' * 32}", f"first={FIRST}," * 1000]
    for seeds in bad:
        keystore = Keystore(seeds)
        for call in (("get-key", "first"), ("sign", "first", b"message")):
            text = refused(keystore("signer", *call), "invalid")
            assert text.startswith("SECURE_LOG_SEEDS"), text


def it_wraps_nothing():
    keystore = Keystore(GOOD)
    for call in (("wrap", "first", b"k" * 32, b""), ("unwrap", "first", b"w" * 60, b""), ("destroy", "first")):
        assert "sealed" in refused(keystore("envelope", *call), "denied")
    assert keystore.sign("first", b"message"), "nothing was destroyed"


RULES = [
    keys_are_those_of_the_seeds,
    messages_of_every_size_are_signed,
    a_signature_fits_its_message_and_key_alone,
    looking_makes_no_key,
    hostile_names_do_no_harm,
    a_variable_that_makes_no_sense_is_refused_without_repeating_it,
    it_wraps_nothing,
]
broken = 0
for rule in RULES:
    try:
        rule()
        print("holds ", rule.__name__)
    except Exception as error:
        broken += 1
        print("BROKEN", rule.__name__, f"\n  {type(error).__name__}: {error}")
print(f"{len(RULES) - broken} of {len(RULES)} rules hold")
sys.exit(broken > 0)
