#!/usr/bin/env python3
"""Verifies an export of a log with standard tools: docs/format.md, "Verifying an export".

usage: verify-with-standard-tools.py EXPORT VERIFIER-KEY [VERIFIER-KEY ...]

The verifier keys (name+hash+key) are those that you trust. Get them from whoever runs the log, not from the export.
Exit code 0: everything holds, and what was not checked is counted; 1: something does not hold; 2: it could not be tried.

Shares no code with secure-log. Needs Python 3.9, b3sum (BLAKE3) and OpenSSL 3 (signatures).
What b3sum is to hash goes through temporary files: TMPDIR=/dev/shm, or another folder in memory, is several times faster.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata

ZERO = bytes(32)
FOR_EVER = float("inf")
BATCH_ENTRIES = 500  # hashed by one call of b3sum
BATCH_BYTES = 64 << 20


class Bad(Exception):
    """Something does not hold."""


def unbase64(text, what):
    """RFC 4648 section 4, padded, unused bits zero: one value has one encoding."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Bad(f"{what} is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Bad(f"{what} is not canonical base64")
    return data


# CBOR


def read_map(data):
    """A map of the data model in "Deterministic CBOR": unsigned keys; numbers, bytes and text."""
    at = 0

    def take(n):
        nonlocal at
        if at + n > len(data):
            raise Bad("CBOR: the data ends too early")
        at += n
        return data[at - n : at]

    def head():
        first = take(1)[0]
        major, info = first >> 5, first & 31
        if info < 24:
            return major, info
        if info > 27:
            raise Bad("CBOR: indefinite length or a reserved head")
        width = 1 << (info - 24)
        n = int.from_bytes(take(width), "big")
        if n < {1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}[width]:
            raise Bad("CBOR: a number is not in its shortest form")
        return major, n

    major, count = head()
    if major != 5:
        raise Bad("CBOR: not a map")
    result = {}
    last = -1
    for _ in range(count):
        major, key = head()
        if major != 0 or key <= last:
            raise Bad("CBOR: keys are not ascending unsigned integers")
        last = key
        major, n = head()
        if major == 0:
            result[key] = n
        elif major == 2:
            result[key] = take(n)
        elif major == 3:
            try:
                result[key] = take(n).decode("utf-8")
            except UnicodeDecodeError:
                raise Bad("CBOR: text is not UTF-8") from None
        else:
            raise Bad("CBOR: a value is neither number, bytes nor text")
    if at != len(data):
        raise Bad("CBOR: bytes after the end of the map")
    return result


def fields(data, required, optional):
    """A map with these keys (key: type) and no others."""
    found = read_map(data)
    for key in required:
        if key not in found:
            raise Bad(f"key {key} is missing")
    for key, value in found.items():
        kind = required.get(key) or optional.get(key)
        if kind is None:
            raise Bad(f"key {key} is not known")
        if not isinstance(value, kind):
            raise Bad(f"key {key} has a value of another type")
    return found


# Headers and records

REQUIRED = {1: int, 2: str, 3: int, 4: bytes, 5: int, 6: str, 7: int, 8: str, 9: bytes, 10: int, 13: str, 14: str, 15: bytes}
OPTIONAL = {11: str, 12: str, 16: str, 17: bytes, 18: str, 19: bytes, 20: int, 21: str}
LENGTHS = {4: 32, 9: 32, 15: 16, 17: 24}


def read_header(data):
    if len(data) > 65_535:
        raise Bad("a header is at most 65,535 bytes")
    h = fields(data, REQUIRED, OPTIONAL)
    for key, length in LENGTHS.items():
        if key in h and len(h[key]) != length:
            raise Bad(f"key {key} is not {length} bytes")
    if h[1] != 1 or h[13] != "blake3" or h[3] == 0 or h[7] > 7 or h.get(20, 32) != 32:
        raise Bad("version, hash algorithm, seqno, severity or salt length is out of range")
    for key in (2, 6, 8, 14, 11, 12, 16, 18, 21):
        name = h.get(key)
        if name is not None and (not name or any(unicodedata.category(c) == "Cc" for c in name)):
            raise Bad(f"key {key} is empty or holds control characters")
    if len(h[2].encode()) > 255:
        raise Bad("the stream id has more than 255 bytes")
    if (17 in h) != (18 in h) or (17 in h and (12 in h or 20 in h or not re.fullmatch("[0-9a-f]{32}", h[18]))):
        raise Bad("nonce and data-key-id go together, and with neither salt nor object-ref")
    if 19 in h and (17 not in h or len(h[19]) != 16 or not all(re.fullmatch("keyed:[0-9a-f]{32}", h[k]) for k in (6, 8))):
        raise Bad("keyed tags do not stand in a sealed entry, or event type and producer are none")
    return h


def stored_length(h):
    return h[10] + (16 if 17 in h else h.get(20, 0))


RECORDS = {
    "log-created": ({1: str, 6: str}, {}),
    "stream-created": ({1: str, 7: str}, {8: str, 9: str, 10: int}),
    "stream-deprecated": ({1: str, 2: int, 5: bytes}, {}),
    "segment-closed": ({1: str, 2: int, 3: bytes, 4: int, 5: bytes, 6: str}, {}),
    "key-rotated": ({1: str, 11: str, 12: str}, {}),
    "payloads-erased": ({1: str, 13: int, 14: int, 15: str}, {}),
    "domain-erased": ({1: str, 15: str}, {}),
}


def read_record(event_type, data):
    if event_type not in RECORDS:
        raise Bad(f"{event_type!r} is not an event type of _log")
    r = fields(data, *RECORDS[event_type])
    if r.get(6, "rfc6962-sha256") != "rfc6962-sha256" or any(len(r.get(k, ZERO)) != 32 for k in (3, 5)):
        raise Bad("tree algorithm or the length of a hash is wrong")
    if 7 in r and r[7] not in ("public", "protected", "highly-restricted"):
        raise Bad("the tier is not known")
    if r.get(9) == r[1] or r.get(10) == 0:
        raise Bad("the record says what goes without saying")
    return r


# Hashes


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


class Tree:
    """The tree of RFC 6962 as it grows: one complete subtree per set bit of its size."""

    def __init__(self):
        self.size = 0
        self.peaks = []

    def add(self, data):
        node, n = sha256(b"\0", data), self.size
        while n & 1:
            node = sha256(b"\1", self.peaks.pop(), node)
            n >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self):
        if not self.peaks:
            return sha256()
        node = self.peaks[-1]
        for left in reversed(self.peaks[:-1]):
            node = sha256(b"\1", left, node)
        return node


def blake3(pieces):
    """BLAKE3 of each piece, by b3sum."""
    if not pieces:
        return []
    with tempfile.TemporaryDirectory() as directory:
        names = [str(i) for i in range(len(pieces))]
        for name, piece in zip(names, pieces):
            with open(os.path.join(directory, name), "wb") as file:
                file.write(piece)
        out = subprocess.run(["b3sum", "--no-names", *names], cwd=directory, check=True, capture_output=True)
    return [bytes.fromhex(line) for line in out.stdout.decode().split()]


# Notes

ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
RSA_PSS = b"\xffsecure-log/rsa-pss-sha256"


class Key:
    """A verifier key, name+hash+key."""

    def __init__(self, text):
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise Bad(f"{text!r} is not of the form name+hash+key")
        self.name, key_hash, key = parts
        typed = unbase64(key, "the verifier key")
        key_id = sha256(self.name.encode(), b"\n", typed)[:4]
        if typed[:1] == b"\1" and len(typed) == 33:
            self.algorithm, self.spki = "ed25519", ED25519_SPKI + typed[1:]
        elif typed[:1] == b"\2":
            self.algorithm, self.spki = "ecdsa", typed[1:]
            key_id = sha256(self.spki)[:4]
        elif typed.startswith(RSA_PSS):
            self.algorithm, self.spki = "rsa-pss", typed[len(RSA_PSS) :]
        else:
            raise Bad(f"the type of the key {self.name} is not known")
        if key_id.hex() != key_hash:
            raise Bad(f"the hash in the verifier key {self.name} is not that of its key")
        self.id = key_id

    def verify(self, text, signature):
        with tempfile.TemporaryDirectory() as directory:
            for name, data in (
                ("key", b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(self.spki) + b"-----END PUBLIC KEY-----\n"),
                ("text", text),
                ("signature", signature),
            ):
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(data)
            digest = ["dgst", "-sha256", "-verify", "key", "-signature", "signature"]
            command = {
                "ed25519": ["pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "text", "-sigfile", "signature"],
                "ecdsa": [*digest, "text"],
                "rsa-pss": [*digest, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", "text"],
            }[self.algorithm]
            return subprocess.run(["openssl", *command], cwd=directory, capture_output=True).returncode == 0


def is_key_name(name):
    controls = any(unicodedata.category(c) == "Cc" for c in name)
    return name != "" and len(name.encode()) <= 255 and not controls and "+" not in name and not any(c.isspace() for c in name)


def read_checkpoint(note, origin, keys):
    """Size and root of a checkpoint of the log `origin`, signed by one of its keys."""
    if len(note.encode()) > 1 << 20 or any(c < " " and c != "\n" for c in note):
        raise Bad("the note is too long or holds control characters")
    text, blank, lines = note.rpartition("\n\n")
    text += "\n"
    if not blank or not lines.endswith("\n") or lines.count("\n") > 100:
        raise Bad("the note does not end with a blank line and 1 to 100 signatures")
    verified, unknown = set(), 0
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or not is_key_name(parts[1]):
            raise Bad("a signature line is malformed")
        data = unbase64(parts[2], "a signature")
        if len(data) < 5:
            raise Bad("a signature is too short")
        known = [k for k in keys if (k.name, k.id) == (parts[1], data[:4])]
        if not known:
            unknown += 1
        elif known[0].verify(text.encode(), data[4:]):
            verified.add((parts[1], data[:4]))
        else:
            raise Bad(f"the signature by {parts[1]} does not verify")
    if not any(name == origin for name, _ in verified):
        raise Bad("no key that you trust for this log signed the checkpoint")
    body = text[:-1].split("\n")
    if len(body) < 3 or "" in body:
        raise Bad("a checkpoint has three lines: origin, size, root")
    if not (body[1].isascii() and body[1].isdigit()) or len(body[1]) > 20 or str(int(body[1])) != body[1] or int(body[1]) >> 64:
        raise Bad("the size is not a decimal number")
    size, root = int(body[1]), unbase64(body[2], "the root")
    if body[0] != origin or size == 0 or len(root) != 32:
        raise Bad("the checkpoint is of another log, or of nothing, or its root is not 32 bytes")
    return size, root, len(verified), unknown


# The export


class Stream:
    """What is known of a stream while its entries pass by."""

    def __init__(self, record):
        self.tier = record[7]
        self.domain = record.get(9, record[1])
        self.retention = record.get(10, 0)
        self.erased = []  # first and last entry, time of the record
        self.segments = []  # size, root, head hash, id
        self.signed = 0  # entries under segments that a checkpoint covers
        self.end = None  # size and head hash at deprecation
        self.seen = False

    def check_seal(self, h):
        if {"public": (False, False), "protected": (True, False), "highly-restricted": (True, True)}[self.tier] != (17 in h, 19 in h):
            raise Bad("the entry is not sealed as its stream demands")

    def is_erased(self, h):
        """Recorded in _log, and not within the retention."""
        late = h[5] + self.retention if self.retention else 0
        return any(first <= h[3] <= last and time >= late for first, last, time in self.erased)


class Domain:
    """An erasure domain."""

    def __init__(self):
        self.key = None  # name of its key-encryption key
        self.erased = False


class Verifier:
    def __init__(self, keys):
        self.keys = keys
        self.origin = None
        self.checkpoints = []
        self.signatures = self.unknown = 0
        self.streams = {}
        self.domains = {}
        self.owners = {}  # domain of each key-encryption key
        self.name = None  # of the stream whose entries are passing by
        self.tree = None
        self.previous = ZERO
        self.entries = self.payloads = self.elsewhere = self.erased = self.segments = 0
        self.log_unsigned = self.uncovered = 0

    def checkpoint(self, note):
        if self.entries:
            raise Bad("a checkpoint stands after the entries")
        size, root, verified, unknown = read_checkpoint(note, self.origin, self.keys)
        if self.checkpoints and size < self.checkpoints[-1][0]:
            raise Bad("a checkpoint is smaller than the one before")
        self.checkpoints.append((size, root))
        self.signatures += verified
        self.unknown += unknown

    def begin(self, name):
        self.finish()
        if (self.entries == 0) != (name == "_log"):
            raise Bad("the entries of _log come first, and once")
        if name != "_log":
            stream = self.streams.get(name)
            if stream is None or stream.seen:
                raise Bad(f"_log does not know the stream {name!r}, or it comes twice")
            stream.seen = True
        self.name, self.tree, self.previous = name, Tree(), ZERO

    def finish(self):
        """The entries of the current stream have ended."""
        if self.tree is None:
            return
        size = self.tree.size
        if self.name == "_log":
            if not self.checkpoints or self.checkpoints[-1][0] > size:
                raise Bad("there is no checkpoint, or it covers entries of _log that are not there")
            self.log_unsigned = size - self.checkpoints[-1][0]
            return
        stream = self.streams[self.name]
        if stream.segments and stream.segments[-1][0] > size:
            raise Bad(f"a segment of {self.name!r} covers entries that are not there")
        if stream.end is not None and stream.end[0] != size:
            raise Bad(f"{self.name!r} was deprecated at entry {stream.end[0]}, and has {size}")
        if any(last > size for _, last, _ in stream.erased if last is not FOR_EVER):
            raise Bad(f"an erasure of {self.name!r} is recorded of entries that are not there")
        self.uncovered += size - stream.signed

    def entry(self, header, payload, entry_hash, payload_hash):
        h = read_header(header)
        if h[2] != self.name:
            self.begin(h[2])
        if h[3] != self.tree.size + 1:
            raise Bad(f"entry {self.tree.size + 1} of {self.name!r} is missing")
        if h[4] != self.previous:
            raise Bad("the entry does not link to the one before")
        self.previous = entry_hash
        self.tree.add(header)
        if self.name != "_log":
            self.streams[self.name].check_seal(h)
        if 12 in h:
            if payload is not None:
                raise Bad("a payload that should be kept elsewhere is here")
            self.elsewhere += 1
        elif payload is None and self.name != "_log" and self.streams[self.name].is_erased(h):
            self.erased += 1
        elif payload is None or len(payload) != stored_length(h) or payload_hash != h[9]:
            raise Bad("the payload is missing, or not the one in the header")
        else:
            self.payloads += 1
        if self.name == "_log":
            self.log_entry(h, payload)
        else:
            self.stream_entry()
        self.entries += 1

    def log_entry(self, h, payload):
        size = self.tree.size
        if any(at == size and root != self.tree.root() for at, root in self.checkpoints):
            raise Bad("the entries of _log up to here do not give the root that was signed")
        if payload is None or 20 in h or 17 in h:
            raise Bad("a record of _log is kept elsewhere, salted or sealed")
        r = read_record(h[6], payload)
        if (h[6] == "log-created") != (size == 1) or (size == 1 and r[1] != self.origin):
            raise Bad("the log is created by entry 1, under the name of the export, and only there")
        if size == 1:
            return
        if h[6] == "stream-created":
            if r[1] in self.streams:
                raise Bad(f"the stream {r[1]!r} is created twice")
            stream = self.streams[r[1]] = Stream(r)
            domain = self.domains.setdefault(stream.domain, Domain())
            if domain.erased:
                raise Bad(f"the stream {r[1]!r} is created in an erasure domain that was erased")
            if stream.tier != "public" and domain.key is None:
                self.take_key(domain, stream.domain, stream.domain)
            return
        if h[6] in ("key-rotated", "domain-erased"):
            self.domain_entry(h, r)
            return
        stream = self.streams.get(r[1])
        if stream is None:
            raise Bad(f"the stream {r[1]!r} was not created")
        if h[6] == "payloads-erased":
            if r[13] == 0 or r[14] < r[13]:
                raise Bad("an erasure is recorded of no entry")
            stream.erased.append((r[13], r[14], h[5]))
            return
        covered = stream.segments[-1][0] if stream.segments else 0
        if h[6] == "stream-deprecated":
            if stream.end is not None or r[2] < covered:
                raise Bad(f"the stream {r[1]!r} is deprecated twice, or before its last segment")
            stream.end = (r[2], r[5])
            return
        if r[4] != covered + 1 or r[2] < r[4]:
            raise Bad(f"a segment of {r[1]!r} does not begin where the one before ends")
        stream.segments.append((r[2], r[3], r[5], size))
        self.segments += 1
        if size <= self.checkpoints[-1][0]:
            stream.signed = r[2]

    def domain_entry(self, h, r):
        domain = self.domains.get(r[1])
        if domain is None or domain.erased:
            raise Bad(f"there is no erasure domain {r[1]!r}, or it was erased")
        if h[6] == "key-rotated":
            if domain.key != r[11] or r[11] == r[12]:
                raise Bad(f"the erasure domain {r[1]!r} does not have the key that is rotated")
            self.take_key(domain, r[1], r[12])
            return
        domain.erased = True
        for stream in self.streams.values():
            if stream.domain == r[1]:
                if stream.end is None:
                    raise Bad(f"the erasure domain {r[1]!r} is erased while a stream of it takes entries")
                stream.erased.append((1, FOR_EVER, h[5]))

    def take_key(self, domain, name, key):
        if self.owners.setdefault(key, name) != name:
            raise Bad(f"two erasure domains have the key-encryption key {key!r}")
        domain.key = key

    def stream_entry(self):
        stream, size = self.streams[self.name], self.tree.size
        for at, root, head, number in stream.segments:
            if at == size and (root != self.tree.root() or head != self.previous):
                raise Bad(f"segment {number} recorded another history up to here")
        if stream.end is not None and stream.end[0] == size and stream.end[1] != self.previous:
            raise Bad("the stream was deprecated with another last entry")

    def end(self, entries, checkpoints):
        if (entries, checkpoints) != (self.entries, len(self.checkpoints)):
            raise Bad("the last line counts other numbers of entries or checkpoints")
        if self.entries == 0 or not self.checkpoints:
            raise Bad("there are no entries, or no checkpoint")
        self.finish()
        for name, stream in self.streams.items():
            erased = any(last is not FOR_EVER for _, last, _ in stream.erased)
            if not stream.seen and (stream.segments or erased or (stream.end and stream.end[0])):
                raise Bad(f"the stream {name!r} is missing")


def members(pairs):
    if len({name for name, _ in pairs}) != len(pairs):
        raise Bad("a member stands twice")
    return dict(pairs)


def read_line(line):
    """Type and content of a line."""
    if not line.endswith(b"\n"):
        raise Bad("the line does not end with a newline")
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise Bad(f"not JSON: {error}") from None
    if not isinstance(value, dict) or len(value) != 1:
        raise Bad("not an object with one member")
    return next(iter(value.items()))


def checked(value, types, optional=()):
    """An object with these members (name: type)."""
    if not isinstance(value, dict) or not set(value) <= set(types) or not set(types) - set(optional) <= set(value):
        raise Bad("a line has other members than it should")
    for name, kind in types.items():
        if name in value and type(value[name]) is not kind:
            raise Bad(f"{name} is of another type")
    return value


def verify(file, keys):
    v = Verifier(keys)
    number = 0
    ended = False
    waiting = []  # entries whose hashes are computed together

    def hash_waiting():
        hashes = blake3([piece for _, header, payload in waiting for piece in (header, payload or b"")])
        for i, (line, header, payload) in enumerate(waiting):
            try:
                v.entry(header, payload, hashes[2 * i], hashes[2 * i + 1])
            except Bad as error:
                raise Bad(f"line {line}: {error}") from None
        waiting.clear()

    size = 0
    for line in file:
        number += 1
        try:
            if ended:
                raise Bad("there is more after the last line")
            kind, value = read_line(line)
            if (kind == "secure-log-export") != (number == 1):
                raise Bad("an export begins with its first line, and only there")
            if kind == "entry":
                checked(value, {"header": str, "payload": str}, ["payload"])
                header = unbase64(value["header"], "the header")
                payload = unbase64(value["payload"], "the payload") if "payload" in value else None
                waiting.append((number, header, payload))
                size += len(line)
                if len(waiting) >= BATCH_ENTRIES or size >= BATCH_BYTES:
                    hash_waiting()
                    size = 0
                continue
            hash_waiting()
            if kind == "secure-log-export":
                checked(value, {"version": int, "origin": str})
                if value["version"] != 1:
                    raise Bad(f"version {value['version']} is not known here")
                v.origin = value["origin"]
            elif kind == "checkpoint" and isinstance(value, str):
                v.checkpoint(value)
            elif kind == "key" and isinstance(value, str):
                pass  # a claim; the keys that count are the caller's
            elif kind == "end":
                checked(value, {"entries": int, "checkpoints": int})
                v.end(value["entries"], value["checkpoints"])
                ended = True
            else:
                raise Bad(f"a line of the type {kind!r} is not known")
        except Bad as error:
            text = str(error)
            raise Bad(text if text.startswith("line ") else f"line {number}: {text}") from None
    if not ended:
        hash_waiting()
        raise Bad(f"line {number + 1}: the export breaks off here")
    return v


def count(n, one, many):
    return f"{n} {one if n == 1 else many}"


def main(arguments):
    if len(arguments) < 2 or arguments[0] in ("-h", "--help"):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        keys = [Key(text) for text in arguments[1:]]
    except Bad as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2
    try:
        with open(arguments[0], "rb") as file:
            v = verify(file, keys)
    except Bad as error:
        print(f"DOES NOT HOLD: {error}", file=sys.stderr)
        return 1
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2
    print(f"log            {v.origin}")
    print(f"checked        {count(v.entries, 'entry', 'entries')}, {count(v.payloads, 'payload', 'payloads')},")
    print(f"               {count(v.segments, 'segment', 'segments')} of {count(len(v.streams), 'stream', 'streams')},")
    print(f"               {count(len(v.checkpoints), 'checkpoint', 'checkpoints')}, {count(v.signatures, 'signature', 'signatures')} by trusted keys")
    print(f"not checked    {count(v.elsewhere, 'payload', 'payloads')} kept elsewhere,")
    if v.erased:
        print(f"               {count(v.erased, 'payload', 'payloads')} erased, as _log records,")
    print(f"               {count(v.unknown, 'signature', 'signatures')} by other keys")
    print(f"not signed     {count(v.uncovered, 'entry', 'entries')} not under a signature,")
    print(f"               {count(v.log_unsigned, 'record', 'records')} of _log after the last checkpoint")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
