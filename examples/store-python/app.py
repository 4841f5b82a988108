"""A store for secure-log in Python: world `store-provider` of wit/worlds.wit, for componentize-py.

Everything is held in memory; the file is a journal that is read once, when the store is opened. A line of it is one
transaction: a CRC-32, a space, JSON. It is written and fsynced before a call returns. README.md says what this store
promises and what it does not.
"""

import binascii
import json
import os
from base64 import b64decode, b64encode
from bisect import bisect_right

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.store import FoundPage, FoundRow, Object, ObjectKind, Row
from wit_world.imports import types as t

FIRST = {"format": "secure-log-python", "version": 1}
PAGE_ROWS = 1_000
PAGE_BYTES = 4 << 20
NOTHING = (0, bytes(32))
COMMON = {"fd": None, "path": None, "is_open": False}


def invalid(field, reason):
    return Err(t.LogError_Invalid(t.InvalidArgument(field, reason)))


class Stream:
    """Rows without their payloads, the payloads, and where each id is."""

    def __init__(self):
        self.rows, self.payloads, self.ids = [], [], {}

    def head(self):
        return (self.rows[-1].seqno, self.rows[-1].entry_hash) if self.rows else NOTHING


class Store(exports.Store):
    def __init__(self):
        # There is an instance for each call; what is open is common to all.
        self.__dict__ = COMMON

    # --- opening and closing ---------------------------------------------------------------------------------

    def open(self, config):
        if self.is_open:
            raise invalid("config", "the store is open; close it first")
        path = path_of(config)
        self.streams, self.order, self.objects, self.tiles = {}, [], {kind: {} for kind in ObjectKind}, {}
        self.size, self.broken = 0, None
        if path is not None:
            with failures("open", path):
                self.load(path)
        self.path, self.is_open = path, True

    def load(self, path):
        # What an erasure that was interrupted left: it has not happened.
        remove(path + ".new")
        self.fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            whole = self.replay(path)
            if whole < os.fstat(self.fd).st_size:
                os.ftruncate(self.fd, whole)
                os.fsync(self.fd)
            self.size = whole
            if whole == 0:
                self.write_journal(line(FIRST))
                sync_directory(path)
        except BaseException:
            os.close(self.fd)
            self.fd = None
            raise

    def replay(self, path):
        """Applies the journal; how many bytes of it are whole. What was never acknowledged may be missing at its
        end: a line without newline, or with the zeros of a block that was not written."""
        whole = number = 0
        with open(path, "rb") as file:
            for text in file:
                number += 1
                if not text.endswith(b"\n") or b"\0" in text:
                    if file.read(1):
                        raise corrupt("", 0, f"{path}, line {number}: is damaged, and more lines follow")
                    break
                record = parse(text)
                if record is None:
                    raise corrupt("", 0, f"{path}, line {number}: does not have the checksum that it begins with")
                if number == 1 and record != FIRST:
                    raise corrupt("", 0, f"{path} is no journal of this store, or of another version")
                if number > 1:
                    self.apply(record)
                whole += len(text)
        return whole

    def close(self):
        self.needs_open()
        self.is_open = False
        if self.fd is not None:
            fd, self.fd = self.fd, None
            with failures("close", self.path):
                os.fsync(fd)
                os.close(fd)

    def needs_open(self):
        if not self.is_open:
            raise invalid("store", "is not open: call open first")

    # --- appending -------------------------------------------------------------------------------------------

    def append(self, appends, expect, objects):
        self.needs_open()
        for head in expect:
            if self.head_of(head.stream_id) != (head.seqno, head.entry_hash if head.seqno else NOTHING[1]):
                raise self.conflict(head.stream_id, f"its head is not at {head.seqno}, as expected")
        record = {"rows": self.check_rows(appends), "objects": self.check_objects(objects)}
        if record["rows"] or record["objects"]:
            self.commit(record)

    def check_rows(self, appends):
        heads, ids, checked = {}, set(), []
        for append in appends:
            stream_id = append.stream_id
            seqno, entry_hash = heads.get(stream_id) or self.head_of(stream_id)
            if (append.prior_seqno, append.prior_hash) != (seqno, entry_hash):
                raise self.conflict(stream_id, f"its head is not at {append.prior_seqno}, as expected")
            if append.rows and stream_id in self.objects[ObjectKind.FROZEN]:
                raise Err(t.LogError_Denied(f"stream {stream_id!r} is frozen and takes no more entries"))
            for row in append.rows:
                seqno += 1
                if row.seqno != seqno:
                    raise invalid("seqno", f"stream {stream_id!r}: {row.seqno} where {seqno} is next")
                if len(row.entry_hash) != 32:
                    raise invalid("entry-hash", f"stream {stream_id!r}, entry {seqno}: is not of 32 bytes")
                if row.severity > 7:
                    raise invalid("severity", f"stream {stream_id!r}, entry {seqno}: {row.severity} is not 0 to 7")
                if row.id is not None:
                    if (stream_id, row.id) in ids or self.find(stream_id, row.id):
                        raise self.conflict(stream_id, f"id {row.id!r} is taken")
                    ids.add((stream_id, row.id))
                checked.append(stored(stream_id, row, row.payload))
            heads[stream_id] = (seqno, append.rows[-1].entry_hash if append.rows else entry_hash)
        return checked

    def check_objects(self, writes):
        staged, checked = {}, []
        for write in writes:
            there = staged.get((write.kind, write.key), self.objects[write.kind].get(write.key))
            create_only = write.kind != ObjectKind.STATE
            if there != write.expected or (create_only and there is not None):
                reason = f"object {write.kind.name.lower()} {write.key!r} is not as expected"
                raise Err(t.LogError_Conflict(t.Conflict(write.key, None, reason)))
            staged[write.kind, write.key] = write.value
            checked.append([write.kind.name, write.key, base64(write.value)])
        return checked

    def commit(self, record):
        """The durability point: the journal has the transaction before memory does."""
        self.write_journal(line(record))
        self.apply(record)

    def apply(self, record):
        for stream_id, seqno, entry_hash, header, payload, *columns in record.get("rows", ()):
            row = Row(seqno, b64decode(entry_hash), b64decode(header), None, *columns)
            stream = self.streams.setdefault(stream_id, Stream())
            if seqno != len(stream.rows) + 1:
                raise corrupt(stream_id, seqno, f"follows entry {len(stream.rows)}: two wrote this journal at once")
            stream.rows.append(row)
            stream.payloads.append(None if payload is None else b64decode(payload))
            if row.id is not None:
                stream.ids[row.id] = seqno
            self.order.append(FoundRow(stream_id, row))
        for kind, key, value in record.get("objects", ()):
            self.objects[ObjectKind[kind]][key] = b64decode(value)
        for stream_id, level, index, hashes in record.get("tiles", ()):
            self.tiles[stream_id, level, index] = b64decode(hashes)

    # --- the journal -----------------------------------------------------------------------------------------

    def write_journal(self, text, sync=True):
        if self.fd is None:
            return
        if self.broken:
            raise Err(t.LogError_Storage(f"{self.broken}; close the store and open it again"))
        self.check_alone()
        with failures("write", self.path):
            try:
                write_all(self.fd, text)
                if sync:
                    os.fsync(self.fd)
            except OSError as error:
                self.broken = f"a write failed before: {error.strerror}"
                os.ftruncate(self.fd, self.size)
                os.fsync(self.fd)
                self.broken = None
                raise
        self.size += len(text)

    def check_alone(self):
        """Whether the journal is as this instance left it. It is no lock: WASI has none."""
        if self.path is None:
            return
        with failures("look at", self.path):
            here, named = os.fstat(self.fd), os.stat(self.path)
        if here.st_ino != named.st_ino or here.st_size != self.size:
            raise Err(t.LogError_Busy(f"{self.path}: another process has written to it; open it again"))

    def whole_journal(self):
        """Lines that make this store, of about a mebibyte each."""
        yield line(FIRST)
        rows = []
        for found in self.order:
            payload = self.streams[found.stream_id].payloads[found.row.seqno - 1]
            rows.append(stored(found.stream_id, found.row, payload))
            if len(rows) == PAGE_ROWS or len(payload or b"") > 1 << 20:
                yield line({"rows": rows})
                rows = []
        objects = [[kind.name, key, base64(value)] for kind in ObjectKind for key, value in self.objects[kind].items()]
        tiles = [[*place, base64(hashes)] for place, hashes in self.tiles.items()]
        yield line({"rows": rows, "objects": objects, "tiles": tiles})

    def erase_payloads(self, stream_id, from_seqno, to_seqno):
        self.needs_open()
        stream = self.streams.get(stream_id, Stream())
        places = range(max(from_seqno, 1) - 1, min(to_seqno, len(stream.payloads)))
        before = {place: stream.payloads[place] for place in places if stream.payloads[place] is not None}
        if not before:
            return 0
        for place in before:
            stream.payloads[place] = None
        try:
            self.replace_journal()
        except BaseException:
            for place, payload in before.items():
                stream.payloads[place] = payload
            raise
        return len(before)

    def replace_journal(self):
        """Another file in the place of the journal, so that nothing erased is left in it."""
        if self.path is None:
            return
        self.check_alone()
        new = self.path + ".new"
        with failures("rewrite", self.path):
            size = write_file(new, self.whole_journal())
            os.rename(new, self.path)
            os.close(self.fd)
            self.fd = os.open(self.path, os.O_RDWR | os.O_APPEND)
            self.size = size
            sync_directory(self.path)

    def backup(self, config):
        self.needs_open()
        path = path_of(config)
        if path is None:
            raise invalid("config", "a copy needs a path")
        with failures("copy to", path):
            write_file(path + ".new", self.whole_journal())
            try:
                # A link replaces nothing, unlike a rename.
                os.link(path + ".new", path)
            except FileExistsError:
                raise Err(t.LogError_Conflict(t.Conflict(path, None, f"{path} is there already"))) from None
            finally:
                remove(path + ".new")
            sync_directory(path)

    # --- reading ---------------------------------------------------------------------------------------------

    def head_of(self, stream_id):
        stream = self.streams.get(stream_id)
        return stream.head() if stream else NOTHING

    def head(self, stream_id):
        self.needs_open()
        seqno, entry_hash = self.head_of(stream_id)
        return t.StreamHead(stream_id, seqno, entry_hash) if seqno else None

    def conflict(self, stream_id, reason):
        return Err(t.LogError_Conflict(t.Conflict(stream_id, self.head(stream_id), reason)))

    def read_rows(self, stream_id, from_seqno, limit, payloads):
        self.needs_open()
        stream = self.streams.get(stream_id, Stream())
        first = max(from_seqno, 1) - 1
        rows = iter(range(first, min(len(stream.rows), first + limit)))
        if payloads:
            rows = (with_payload(stream.rows[place], stream.payloads[place]) for place in rows)
        else:
            rows = (stream.rows[place] for place in rows)
        return page(rows, limit, lambda row: len(row.header) + len(row.payload or b""))

    def find(self, stream_id, id):
        stream = self.streams.get(stream_id)
        return stream.ids.get(id) if stream else None

    def find_id(self, stream_id, id):
        self.needs_open()
        return self.find(stream_id, id)

    def list_heads(self, after, limit):
        self.needs_open()
        # Python compares text by code point, which is the order of its bytes in UTF-8.
        names = sorted(self.streams)
        names = names[bisect_right(names, after) if after is not None else 0 :]
        return page(map(self.head, names), limit, lambda head: len(head.stream_id) + 40)

    def query(self, filter, cursor, limit):
        self.needs_open()
        place = 0
        if cursor is not None:
            if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 16):
                raise invalid("cursor", "is not the `next` of a page")
            place = int(cursor)
        limit, rows, size = min(limit, PAGE_ROWS), [], 0
        while place < len(self.order):
            found = self.order[place]
            if matches(filter, found):
                size += len(found.row.header)
                if rows and (len(rows) >= limit or size > PAGE_BYTES):
                    return FoundPage(rows, str(place))
                rows.append(found)
            place += 1
        return FoundPage(rows, None)

    def read_object(self, kind, key):
        self.needs_open()
        return self.objects[kind].get(key)

    def keys(self, kind, prefix):
        self.needs_open()
        return sorted(key for key in self.objects[kind] if key.startswith(prefix))

    def list_objects(self, kind, prefix, after, limit):
        keys = self.keys(kind, prefix)
        keys = keys[bisect_right(keys, after) if after is not None else 0 :]
        return page((Object(kind, key, self.objects[kind][key]) for key in keys), limit, lambda o: len(o.value))

    def last_object(self, kind, prefix):
        keys = self.keys(kind, prefix)
        return Object(kind, keys[-1], self.objects[kind][keys[-1]]) if keys else None

    # --- tiles -----------------------------------------------------------------------------------------------

    def write_tiles(self, stream_id, tiles):
        self.needs_open()
        if tiles:
            record = {"tiles": [[stream_id, tile.level, tile.index, base64(tile.hashes)] for tile in tiles]}
            # Whoever lost tiles makes them again, so the next transaction may sync them.
            self.write_journal(line(record), sync=False)
            self.apply(record)

    def read_tile(self, stream_id, level, index):
        self.needs_open()
        return self.tiles.get((stream_id, level, index))


def page(items, limit, size_of):
    """As many as a page holds: at least one where there is one."""
    chosen, size = [], 0
    for item in items:
        size += size_of(item)
        if len(chosen) >= min(limit, PAGE_ROWS) or (chosen and size > PAGE_BYTES):
            break
        chosen.append(item)
    return chosen


def matches(filter, found):
    row = found.row
    return (
        (filter.stream_id is None or found.stream_id == filter.stream_id)
        and (filter.from_ms is None or row.time_ms >= filter.from_ms)
        and (filter.to_ms is None or row.time_ms < filter.to_ms)
        and (filter.event_type is None or row.event_type == filter.event_type)
        and (filter.min_severity is None or row.severity <= filter.min_severity.value)
        and (filter.producer is None or row.producer == filter.producer)
    )


def with_payload(row, payload):
    return Row(
        row.seqno, row.entry_hash, row.header, payload, row.time_ms, row.severity, row.event_type, row.producer, row.id
    )


def stored(stream_id, row, payload):
    """A row as it stands in the journal."""
    columns = [row.time_ms, row.severity, row.event_type, row.producer, row.id]
    payload = None if payload is None else base64(payload)
    return [stream_id, row.seqno, base64(row.entry_hash), base64(row.header), payload, *columns]


def base64(data):
    return b64encode(data).decode()


def line(record):
    text = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %s\n" % (binascii.crc32(text), text)


def parse(text):
    """What a line holds; none where its checksum is another."""
    checksum, _, body = text[:-1].partition(b" ")
    return json.loads(body) if checksum == b"%08x" % binascii.crc32(body) else None


def corrupt(stream_id, seqno, reason):
    return Err(t.LogError_Corrupt(t.Corruption(stream_id, seqno, reason)))


# --- files -------------------------------------------------------------------------------------------------------


def path_of(config):
    """The path that a configuration names; none for `:memory:`."""
    path, _, options = config.partition("?")
    if not path:
        raise invalid("config", "is empty; give a path or :memory:")
    # Our hosts say `lock=host` where they hold a lock of their own, which is what this store relies on.
    for option in filter(None, options.split("&")):
        if option != "lock=host":
            raise invalid("config", f"option {option!r} is not known; this store has lock=host alone")
    return None if path == ":memory:" else path


class failures:
    """What the files say becomes `storage`, with what was tried."""

    def __init__(self, what, path):
        self.what, self.path = what, path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, OSError):
            raise Err(t.LogError_Storage(f"cannot {self.what} {self.path}: {error.strerror}")) from error


def write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(path, lines):
    """Makes a file of these lines, durable but for its name; its size."""
    fd, size = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 0
    try:
        for text in lines:
            write_all(fd, text)
            size += len(text)
        os.fsync(fd)
    finally:
        os.close(fd)
    return size


def sync_directory(path):
    fd = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
