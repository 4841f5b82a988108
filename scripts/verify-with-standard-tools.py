#!/usr/bin/env python3
"""Verifies an export of a log (docs/format.md, "Verifying an export") or an evidence bundle (docs/evidence.md).

usage: verify-with-standard-tools.py FILE VERIFIER-KEY [VERIFIER-KEY ...] [--tsa ROOT.pem] [--device-key HEX ...]

The verifier keys (name+hash+key) are those that you trust. Get them from whoever runs the log, not from the file. Of a
bundle, the key of a witness may be among them: its cosignature is then required. --tsa names the certificates of the
time-stamping authorities that you trust (PEM), --device-key a public key that the device may have had.
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
        elif typed[:1] == b"\4" and len(typed) == 33:
            self.algorithm, self.spki = "cosignature", ED25519_SPKI + typed[1:]
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
        """Whether it is the signature of a note's text by this key."""
        if self.algorithm != "cosignature":
            return verify_signature(self.algorithm, self.spki, text, signature)
        # tlog-cosignature: eight bytes of time, then the signature.
        at = int.from_bytes(signature[:8], "big")
        return verify_signature("ed25519", self.spki, b"cosignature/v1\ntime %d\n" % at + text, signature[8:])


def verify_signature(algorithm, spki, text, signature):
    """The same for a public key (SPKI), by openssl."""
    with tempfile.TemporaryDirectory() as directory:
        for name, data in (
            ("key", b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(spki) + b"-----END PUBLIC KEY-----\n"),
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
        }[algorithm]
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
    if not any(k.algorithm != "cosignature" and k.name == origin and (k.name, k.id) in verified for k in keys):
        raise Bad("no key that you trust for this log signed the checkpoint")
    for key in keys:
        if key.algorithm == "cosignature" and (key.name, key.id) not in verified:
            raise Bad(f"the witness {key.name} has not cosigned the checkpoint")
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


# The evidence bundle


def fold(index, size, leaf, path):
    """The root that an inclusion path leads to (RFC 9162 section 2.1.3.2)."""
    if index >= size:
        raise Bad("the index is not in the tree")
    fn, sn, node = index, size - 1, leaf
    for sibling in path:
        if sn == 0:
            raise Bad("the path is too long")
        if fn & 1 or fn == sn:
            node = sha256(b"\1", sibling, node)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\1", node, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn:
        raise Bad("the path is too short")
    return node


def read_proof(text, note, size, root):
    """The header that a tlog-proof proves under the checkpoint, the stream's size at the segment above it."""
    head, blank, rest = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or rest != note or len(lines) < 3 or lines[0] != "c2sp.org/tlog-proof@v1":
        raise Bad("the proof is none, or leads to another checkpoint")
    if not lines[1].startswith("extra ") or not re.fullmatch("index (0|[1-9][0-9]*)", lines[2]) or len(lines) > 3 + 64:
        raise Bad("the proof has other lines than it should")
    extra = fields(unbase64(lines[1][6:], "the extra data"), {1: str, 2: bytes, 3: bytes, 4: bytes, 5: bytes}, {})
    log_path = [unbase64(line, "a hash") for line in lines[3:]]
    path = [extra[3][at : at + 32] for at in range(0, len(extra[3]), 32)]
    if extra[1] != "secure-log/entry-proof@v1" or len(path) > 64 or any(len(p) != 32 for p in path + log_path):
        raise Bad("the proof is not of an entry, or a hash in it is not 32 bytes")
    h, segment = read_header(extra[2]), read_header(extra[4])
    index = int(lines[2][6:])
    if segment[2] != "_log" or segment[3] != index + 1 or segment[6] != "segment-closed" or 20 in segment or 17 in segment:
        raise Bad("the proof does not lead to the entry of _log that closed a segment")
    record = read_record("segment-closed", extra[5])
    if fold(index, size, sha256(b"\0", extra[4]), log_path) != root:
        raise Bad("the segment is not under the checkpoint")
    if record[1] != h[2] or fold(h[3] - 1, record[2], sha256(b"\0", extra[2]), path) != record[3]:
        raise Bad("the entry is not in the segment")
    return h, extra[2], segment[9], extra[5]


def check_stamps(tokens, message, tsa):
    """How many tokens were verified, by openssl."""
    if tsa is None:
        return 0
    for token in tokens:
        with tempfile.TemporaryDirectory() as directory:
            for name, data in (("token", unbase64(token, "a time stamp")), ("message", message)):
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(data)
            command = ["openssl", "ts", "-verify", "-token_in", "-in", "token", "-data", "message", "-CAfile", os.path.abspath(tsa)]
            if subprocess.run(command, cwd=directory, capture_output=True).returncode:
                raise Bad("a time stamp does not verify")
    return len(tokens)


class Bundle:
    """Checks a bundle; what has to be hashed is collected first."""

    def __init__(self, lines, keys, tsa, device_keys):
        self.lines, self.keys, self.tsa, self.device_keys = lines, keys, tsa, device_keys
        self.entries = []  # header, its bytes, stored payload or None
        self.payloads = self.absent = self.elsewhere = self.sealed = self.stamps = self.stamps_unchecked = 0
        self.records = self.old_records = 0

    def verify(self):
        (kind, about), *rest = self.lines
        checked(about, {"version": int, "origin": str, "subject": dict, "made-by": str})
        if about["version"] != 1 or len(about["subject"]) != 1:
            raise Bad("the version is not known here")
        self.origin = about["origin"]
        (self.what, subject), = about["subject"].items()
        if self.what == "range":
            self.subject = checked(subject, {"stream": str, "from": int, "to": int})
        elif self.what == "device":
            self.subject = checked(subject, {"id": str})
        else:
            raise Bad("a bundle is of a range or a device")
        if not rest or rest[-1][0] != "end":
            raise Bad("the bundle breaks off")
        note = None
        for kind, value in rest[:-1]:
            if kind == "checkpoint" and note is None:
                note = self.checkpoint(value)
            elif kind == "entry" and note is not None:
                self.entry(note, value)
            elif kind not in ("key", "policy") or not isinstance(value, str):
                raise Bad(f"a line of the type {kind!r} is not known, or out of place")
        if checked(rest[-1][1], {"entries": int})["entries"] != len(self.entries) or not self.entries:
            raise Bad("the last line counts other entries")
        self.hashes()
        self.chain()
        if self.what == "device":
            self.device(self.subject["id"])

    def checkpoint(self, value):
        checked(value, {"number": int, "note": str, "cosigned": str, "time-tokens": list}, ["cosigned", "time-tokens"])
        note = value.get("cosigned", value["note"])
        if not note.startswith(value["note"]):
            raise Bad("the cosigned checkpoint is not the checkpoint with more lines")
        self.size, self.root, self.signatures, self.unknown = read_checkpoint(note, self.origin, self.keys)
        self.time(value.get("time-tokens", []), value["note"].encode())
        return note

    def time(self, tokens, message):
        verified = check_stamps(tokens, message, self.tsa)
        self.stamps += verified
        self.stamps_unchecked += len(tokens) - verified

    def entry(self, note, value):
        checked(value, {"proof": str, "payload": str, "time-tokens": list}, ["payload", "time-tokens"])
        h, header, segment_hash, segment = read_proof(value["proof"], note, self.size, self.root)
        payload = unbase64(value["payload"], "the payload") if "payload" in value else None
        self.time(value.get("time-tokens", []), header)
        self.entries.append((h, header, payload, segment_hash, segment))

    def hashes(self):
        pieces = [piece for _, header, payload, _, segment in self.entries for piece in (header, payload or b"", segment)]
        found = []
        for at in range(0, len(pieces), BATCH_ENTRIES):
            found += blake3(pieces[at : at + BATCH_ENTRIES])
        self.entry_hashes = found[0::3]
        for (h, _, payload, segment_hash, _), payload_hash, segment in zip(self.entries, found[1::3], found[2::3]):
            if segment != segment_hash:
                raise Bad("the record of a segment is not the one in its header")
            if payload is None:
                self.elsewhere += 12 in h
                self.absent += 12 not in h
            elif 12 in h or len(payload) != stored_length(h) or payload_hash != h[9]:
                raise Bad(f"the payload of entry {h[3]} of {h[2]!r} is not the one in its header")
            else:
                self.payloads += 1
                self.sealed += 17 in h

    def streams(self):
        """Names that may be in the bundle, in words of a pattern; whether a stream has gaps."""
        if self.what == "range":
            return re.escape(self.subject["stream"])
        name = escaped(self.subject["id"])
        return f"registry/{re.escape(name)}|registry-keys|device/{re.escape(name)}/[1-9][0-9]*"

    def chain(self):
        allowed, seen, last = self.streams(), set(), None
        for (h, *_), entry_hash in zip(self.entries, self.entry_hashes):
            if not re.fullmatch(allowed, h[2]):
                raise Bad(f"the stream {h[2]!r} is not what the bundle is about")
            if last is None or last[0] != h[2]:
                if h[2] in seen:
                    raise Bad(f"the entries of {h[2]!r} are not together")
                seen.add(h[2])
                first = self.subject.get("from", 1)
                if h[2] != "registry-keys" and (h[3] != first or (first == 1 and h[4] != ZERO)):
                    raise Bad(f"entry {first} of {h[2]!r} is missing")
            elif h[2] == "registry-keys":
                if h[3] <= last[1]:
                    raise Bad("the entries of registry-keys are out of order")
            elif h[3] != last[1] + 1 or h[4] != last[2]:
                raise Bad(f"entry {h[3]} of {h[2]!r} does not follow the one before it")
            last = (h[2], h[3], entry_hash)
        if self.what == "range" and last[1] != self.subject["to"]:
            raise Bad("the last entry of the range is missing")

    def device(self, device_id):
        """The registry entry by entry, then every record by what the registry said when it was accepted."""
        registry, keys, revoked, epochs, open_epoch = [], {}, {}, [], {}
        name = escaped(device_id)
        for (h, _, stored, *_), entry_hash in zip(self.entries, self.entry_hashes):
            if h[2] != f"registry/{name}":
                continue
            at = len(registry) + 1
            if stored is None:
                raise Bad(f"entry {at} of the registry has no payload")
            said = json.loads(stored[h.get(20, 0) :])
            if said.get("device_id") != device_id or (h[6] == "device-registered") != (at == 1):
                raise Bad(f"entry {at} of the registry is of another device")
            if h[6] in ("device-registered", "key-added"):
                keys[said["key_id"]] = (bytes.fromhex(said["public_key"]), at, said)
            if h[6] in ("device-registered", "epoch-opened"):
                epochs.append((said["first"], bytes.fromhex(said["anchor"])))
            if h[6] == "key-revoked":
                revoked[said["key_id"]] = at
            if h[6] == "device-revoked":
                revoked[None] = at
            if h[6] not in ("device-registered", "key-added", "key-revoked", "device-revoked", "versions-allowed", "epoch-opened"):
                raise Bad(f"entry {at} of the registry is of a type that is not known")
            registry.append(entry_hash)
            open_epoch[at] = len(epochs)
        for key_id, hashed in zip(keys, blake3([public for public, *_ in keys.values()])):
            if hashed[:16].hex() != key_id:
                raise Bad(f"key {key_id} of the registry does not have its id")
            if self.device_keys and keys[key_id][0].hex() not in self.device_keys:
                raise Bad(f"key {keys[key_id][0].hex()} is none of those that you trust")
        records, gone = [], set()
        for h, _, stored, *_ in self.entries:
            if h[2].startswith(f"device/{name}/"):
                if stored is None:
                    # Erased or withheld: the record after it is taken to follow it.
                    gone.add((h[2], h[3]))
                    continue
                r = fields(stored[h.get(20, 0) :], {1: int, 2: int, 3: bytes, 4: int, 5: bytes, 6: str, 8: bytes}, {7: str})
                records.append((h, r))
        unsigned = [bytes([r[3][0] - 1]) + r[3][1:-67] if r[2] == 2 else b"" for _, r in records]
        found = blake3([piece for (_, r), u in zip(records, unsigned) for piece in (r[3], u, r[8])])
        before = {}
        for (h, r), record_hash, message, payload_hash in zip(records, found[0::3], found[1::3], found[2::3]):
            epoch = int(h[2].rsplit("/", 1)[1])
            judge = r[4]
            if epoch > len(epochs) or not 0 < judge <= len(registry) or registry[judge - 1] != r[5] or open_epoch[judge] != epoch:
                raise Bad(f"record {h[3]} of {h[2]!r} was not judged by what the registry said")
            first, anchor = epochs[epoch - 1]
            if r[2] != 2:
                self.old_records += 1
                before[epoch] = record_hash
                continue
            kinds = {1: int, 2: str, 3: int, 4: int, 5: bytes, 6: bytes, 7: str, 8: str, 9: str, 10: str, 11: str, 12: bytes}
            rec = fields(r[3], kinds, {})
            public, since, key = keys.get(rec[10], (None, 0, {}))
            in_window = key.get("not_before_ms", 0) <= rec[4] < key.get("not_after_ms", FOR_EVER)
            if public is None or since > judge or min(revoked.get(rec[10], FOR_EVER), revoked.get(None, FOR_EVER)) <= judge or not in_window:
                raise Bad(f"record {h[3]} of {h[2]!r} names a key that was not allowed")
            if rec[1] != 2 or rec[2] != device_id or rec[3] != first + h[3] - 1 or rec[8] != "blake3" or rec[9] != "ed25519" or rec[10] != r[6]:
                raise Bad(f"record {h[3]} of {h[2]!r} is of another device, number or key")
            follows = rec[6] == before.get(epoch, anchor) or (h[2], h[3] - 1) in gone
            if rec[5] != payload_hash or not follows:
                raise Bad(f"record {h[3]} of {h[2]!r} has another payload, or does not follow the one before it")
            if not verify_signature("ed25519", ED25519_SPKI + public, b"edgesentry-audit record v2\n" + message, rec[12]):
                raise Bad(f"the signature of record {h[3]} of {h[2]!r} does not verify")
            before[epoch] = record_hash
            self.records += 1

    def report(self):
        print(f"log            {self.origin}")
        print(f"checked        {count(len(self.entries), 'entry', 'entries')}, {count(self.payloads, 'payload', 'payloads')},")
        print(f"               {count(self.signatures, 'signature', 'signatures')} of the checkpoint, {count(self.stamps, 'time stamp', 'time stamps')},")
        print(f"               {count(self.records, 'record', 'records')} of a device")
        print(f"not checked    {count(self.absent, 'payload', 'payloads')} erased or withheld, {self.elsewhere} kept elsewhere,")
        print(f"               what {count(self.sealed, 'sealed payload', 'sealed payloads')} say,")
        print(f"               {count(self.unknown, 'signature', 'signatures')} by other keys, {count(self.stamps_unchecked, 'time stamp', 'time stamps')},")
        print(f"               {count(self.old_records, 'record', 'records')} of version 1")


def escaped(device_id):
    """A device's id in the names of streams."""
    plain = lambda c: c not in "%/~" and unicodedata.category(c) != "Cc"
    name = "".join(c if plain(c) else "".join(f"%{b:02X}" for b in c.encode()) for c in device_id)
    return name if len(name.encode()) <= 227 else "~" + blake3([device_id.encode()])[0].hex()


def count(n, one, many):
    return f"{n} {one if n == 1 else many}"


def main(arguments):
    tsa, device_keys, rest = None, set(), []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--tsa" and left:
            tsa = left.pop(0)
        elif word == "--device-key" and left:
            device_keys.add(left.pop(0))
        else:
            rest.append(word)
    if len(rest) < 2 or any(word.startswith("-") for word in rest):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        keys = [Key(text) for text in rest[1:]]
    except Bad as error:
        print(f"cannot verify: {error}", file=sys.stderr)
        return 2
    try:
        with open(rest[0], "rb") as file:
            if file.read(20).startswith(b'{"evidence-bundle"'):
                file.seek(0)
                bundle = Bundle([read_line(line) for line in file], keys, tsa, device_keys)
                try:
                    bundle.verify()
                except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                    raise Bad(f"the bundle is malformed: {error!r}") from None
                bundle.report()
                return 0
            file.seek(0)
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
