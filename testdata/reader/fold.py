"""The fold: operations on documents in the order of stamps, and the hash of their state (docs/design/db.md)."""
import datetime
import json
import math
import struct
import sys
from fractions import Fraction
from types import SimpleNamespace

import bson
from bson.binary import Binary
from bson.code import Code
from bson.codec_options import CodecOptions
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.son import SON
from bson.timestamp import Timestamp

from formats import ADMIN, DATA, SNAPSHOT, Bytes, label, u64
from public import Bad, Unknown, blake3, mac, need, uvarint

# ---------------------------------------------------------------- values: docs/design/query.md, as far as the stories need

OPTIONS = CodecOptions(document_class=SON, tz_aware=True)
NUMBERS = (int, Int64, float, Decimal128)
REGEX_OPTIONS = [("i", 2), ("l", 4), ("m", 8), ("s", 16), ("u", 32), ("x", 64)]


def encoded(doc):
    """BSON of a document, in the order of its fields: of one that is not in another the library puts _id first."""
    return bson.encode(SON([("v", doc)]))[7:-1]


def document(data):
    try:
        value = bson.decode(data, OPTIONS)
    except bson.errors.BSONError as e:
        raise Bad(f"BSON: {e}")
    need(encoded(value) == data, "BSON: not the same bytes when encoded")
    return value


def text_key(text):
    return text.encode().replace(b"\0", b"\0\xff") + b"\0\x01"


GREATEST, NORMAL = sys.float_info.max, sys.float_info.min


def magnitude(n):
    """The greatest finite double at or below a number above 0, and what is left: docs/design/query.md, Keys of values."""
    if n > 0 and n == float("inf"):
        return struct.pack(">d", n) + b"\0"
    n = Fraction(n)
    try:
        low = float(n)
    except OverflowError:
        low = GREATEST
    low = min(low, GREATEST)
    if Fraction(low) > n:
        low = math.nextafter(low, 0)
    head = struct.pack(">d", low)
    if Fraction(low) == n:
        return head + b"\0"
    if low < NORMAL or low == GREATEST:
        exponent = 0
        while n >= Fraction(10) ** (exponent + 1):
            exponent += 1
        while n < Fraction(10) ** exponent:
            exponent -= 1
        return head + b"\1" + struct.pack(">H", exponent + 32768) + int(n / Fraction(10) ** (exponent - 33)).to_bytes(16, "big")
    gap = Fraction(math.nextafter(low, math.inf)) - Fraction(low)
    return head + b"\1" + u64(int((n - Fraction(low)) * 2**64 / gap))


def number_key(value):
    if isinstance(value, Decimal128):
        value = value.to_decimal()
    if value != value:
        return b"\x14"
    if value == 0:
        return b"\x16"
    if value > 0:
        return b"\x17" + magnitude(value)
    return b"\x15" + bytes(b ^ 255 for b in magnitude(-value))


def key_of(value):
    """The order-preserving key of a value: docs/design/query.md, Keys of values."""
    if isinstance(value, bool):
        return b"\x30" + bytes([value])
    if isinstance(value, NUMBERS):
        return number_key(value)
    if isinstance(value, Code):
        if value.scope is None:
            return b"\x44" + text_key(str(value))
        return b"\x48" + text_key(str(value)) + key_of(SON(value.scope))[1:]
    if isinstance(value, str):
        return b"\x1c" + text_key(value)
    if isinstance(value, (bytes, Binary)):
        return b"\x28" + struct.pack(">I", len(value)) + bytes([getattr(value, "subtype", 0)]) + bytes(value)
    if isinstance(value, SON):
        return b"\x20" + b"".join(
            (b"\x14" if isinstance(v, NUMBERS) and not isinstance(v, bool) else key_of(v)[:1]) + text_key(k) + key_of(v)
            for k, v in value.items()) + b"\0"
    if isinstance(value, list):
        return b"\x24" + b"".join(map(key_of, value)) + b"\0"
    if isinstance(value, ObjectId):
        return b"\x2c" + value.binary
    if isinstance(value, datetime.datetime):
        since = value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        return b"\x34" + u64(since // datetime.timedelta(milliseconds=1) + 2**63)
    if isinstance(value, Timestamp):
        return b"\x38" + struct.pack(">II", value.time, value.inc)
    if isinstance(value, Regex):
        options = "".join(letter for letter, bit in REGEX_OPTIONS if value.flags & bit)
        return b"\x3c" + text_key(value.pattern) + text_key(options)
    for kind, key in (type(None), b"\x10"), (MinKey, b"\x08"), (MaxKey, b"\xf0"):
        if isinstance(value, kind):
            return key
    raise Unknown(f"the key of {value!r}")


def same(a, b):
    if isinstance(a, SON) and isinstance(b, SON):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return (type(a) is type(b) or type(a) in NUMBERS and type(b) in NUMBERS) and a == b


def matches(doc, filter):
    """Equality and $exists on fields of the document itself."""
    for name, want in filter.items():
        operators = isinstance(want, SON) and [k for k in want if k.startswith("$")]
        if name[:1] == "$" or "." in name or want is None or isinstance(doc.get(name), list) or operators not in (
                False, [], ["$exists"]):
            raise Unknown(f"filter {filter}")
        if operators:
            if (name in doc) != bool(want["$exists"]):
                return False
        elif name not in doc or not same(doc[name], want):
            return False
    return True


class Refused(Exception):
    """An operation that is a no-op, with its reason."""


def updated(doc, update, insert):
    """$set, $setOnInsert, $unset, $inc and $addToSet; new fields follow in order of name."""
    doc = document(encoded(doc))
    changes = [(path.split("."), op, value) for op, paths in update.items() for path, value in paths.items()]
    for path, op, value in sorted(changes, key=lambda c: c[0]):
        if op == "$setOnInsert":
            if not insert:
                continue
            op = "$set"
        at, name = doc, path[-1]
        for step in path[:-1]:
            at = at.get(step, SON()) if op == "$unset" else at.setdefault(step, SON())
            if not isinstance(at, SON):
                raise Unknown(f"update of {path}")
        old = at.get(name)
        if op == "$unset":
            at.pop(name, None)
        elif op == "$set":
            at[name] = value
        elif op == "$inc":
            if type(value) not in NUMBERS or type(at.get(name, 0)) not in NUMBERS:
                raise Refused("update")
            total = value + (old or 0)
            if isinstance(total, float):
                at[name] = total
            else:
                at[name] = Int64(total) if Int64 in (type(old), type(value)) or total >= 1 << 31 else int(total)
        elif op == "$addToSet" and (old is None or isinstance(old, list)):
            each = value["$each"] if isinstance(value, SON) and list(value) == ["$each"] else [value]
            at[name] = list(old or [])
            for one in each:
                if not any(same(v, one) for v in at[name]):
                    at[name].append(one)
        else:
            raise Unknown(f"update {op}")
    return doc


def fits_schema(value, schema):
    """JSON Schema: type, required, properties."""
    kinds = {str: "string", bool: "boolean", list: "array", SON: "object", type(None): "null"}
    kind = kinds.get(type(value), "number" if type(value) in NUMBERS else "string")
    whole = kind == "number" and float(value).is_integer()
    for word, want in schema.items():
        if word == "type":
            if want != kind and not (want == "integer" and whole):
                return False
        elif word == "required":
            if kind == "object" and not all(name in value for name in want):
                return False
        elif word == "properties":
            if kind == "object" and not all(fits_schema(value[n], s) for n, s in want.items() if n in value):
                return False
        else:
            raise Unknown(f"schema: {word}")
    return True


# ---------------------------------------------------------------- records: docs/design/db.md

INSERT, UPDATE, REPLACE, DELETE = 1, 2, 3, 4
CODES = ["", "malformed", "duplicate_key", "no_match", "schema", "update", "reserved", "definition", "atomic",
         "too_large", "rule", "too_costly", "role", "stale", "unseen"]
DEFINITIONS = "system.collections"
DEFINITION = {"_id", "version", "schema", "formats", "level", "action", "rules", "indexes", "plain", "next", "steps"}


def read_document(r):
    return document(r.take(int.from_bytes(r.data[r.at:r.at + 4], "little")))


def read_names(r):
    names = [r.prefixed().decode() for _ in range(r.uvarint())]
    need(len(set(names)) == len(names) and all(0 < len(n.encode()) <= 120 for n in names), "payload: names")
    return names


def read_target(r):
    kind, prefix = r.take(1), int.from_bytes(r.data[r.at:r.at + 4], "little")
    sizes = {1: 8, 2: 4 + prefix, 3: prefix, 5: 5 + prefix, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16}
    if kind[0] not in sizes:
        raise Unknown(f"an _id of BSON type {kind[0]}")
    element = kind + b"_id\0" + r.take(sizes[kind[0]])
    return document(struct.pack("<i", len(element) + 5) + element + b"\0")["_id"]


def read_view(r):
    view = [(r.take(32), r.uvarint(), r.take(32)) for _ in range(r.uvarint())]
    need(view == sorted(set(view)) and len(view) <= 2000 and all(seq > 0 for _, seq, _ in view), "payload: view")
    return view


def read_horizon(payload):
    """T and view of a horizon; None of what is none: docs/design/places.md."""
    r = Bytes(payload)
    if len(payload) > 960 << 10 or payload[:3] != b"\1\0\0":
        return None
    r.take(3)
    horizon = SimpleNamespace(t=r.uint(8), view=read_view(r))
    r.end()
    return horizon


def read_operations(payload):
    r = Bytes(payload)
    need(len(payload) <= 960 << 10 and r.take(1) == b"\1", "payload: size or version")
    names, ops, used = read_names(r), [], {}
    count = r.uvarint()
    need(1 <= count <= 4096, "payload: operations")
    for _ in range(count):
        byte, number = r.uint(1), r.uvarint()
        op = SimpleNamespace(kind=byte & 15, upsert=bool(byte & 16), repeat=bool(byte & 32))
        need(1 <= op.kind <= 4 and byte < 64 and number < len(names), "operation: kind or name")
        need(not op.upsert or op.kind in (UPDATE, REPLACE), "operation: an upsert of this kind")
        op.name = names[number]
        used[op.name] = True
        op.id = read_target(r) if op.kind != INSERT else None
        begin, before = r.at, ops[-1] if ops and (ops[-1].kind, ops[-1].upsert) == (op.kind, op.upsert) and op.kind != INSERT else None
        if op.repeat:
            need(before, "operation: the body of no operation")
            op.body, op.raw = before.body, before.raw
        else:
            op.body = [read_document(r) for _ in range(1 if op.kind in (INSERT, DELETE) else 2)]
            if op.kind == UPDATE:
                op.body += [read_document(r) for _ in range(r.uvarint())]
                need(len(op.body) <= 66, "operation: array filters")
            op.raw = r.data[begin:r.at]
            need(not before or before.raw != op.raw, "operation: a body that is given twice")
        if op.kind == INSERT:
            need(next(iter(op.body[0]), None) == "_id", "operation: an insert begins with _id")
            op.id = op.body[0]["_id"]
        ops.append(op)
    if r.at < len(r.data):  # a definition says what its author had
        need(count == 1 and ops[0].name == DEFINITIONS, "payload: a view of no definition")
        ops[0].view = read_view(r)
    r.end()
    need(list(used) == names, "payload: names in order of first use")
    return ops


def read_snapshot(payload):
    r = Bytes(payload)
    need(r.take(1) == b"\2", "snapshot: version")
    names = read_names(r)
    documents = [(names[r.uvarint()], r.uint(8), read_document(r)) for _ in range(r.uvarint())]
    r.end()
    return documents


class State:
    """Documents, tombstones and refusals, and their hash."""

    def __init__(self):
        self.documents, self.gone, self.refused = {}, set(), {}

    def record(self, r, flags, payload):
        """The operations of one record, which come one after the other in the order of places."""
        if getattr(r, "horizon", None):
            return
        try:
            ops = read_operations(payload)
        except (Bad, UnicodeDecodeError):
            self.refused[r.time, r.log, r.hash, 0] = "malformed"
            return
        first = getattr(r, "first", r.time)
        before, codes = (dict(self.documents), set(self.gone)), {}
        for i, op in enumerate(ops):
            try:
                self.apply(op)
            except Refused as e:
                codes[i] = str(e)
        if flags & 1 and codes:
            self.documents, self.gone = before
            codes = {i: codes.get(i, "atomic") for i in range(len(ops))}
        self.refused.update({(first, r.log, r.hash, i): code for i, code in codes.items()})

    def apply(self, op):
        """One operation at its place."""
        where = op.name, key_of(op.id)
        old, doc = self.documents.get(where), None
        if op.kind == INSERT:
            if old is not None:
                raise Refused("duplicate_key")
            doc = op.body[0]
        elif not op.upsert if old is None else not matches(old, op.body[0]):
            raise Refused("duplicate_key" if op.upsert else "no_match")
        elif op.kind == UPDATE:
            if len(op.body) > 2:
                raise Unknown("array filters")
            base = old
            if old is None:  # the filter's equalities, in its order
                base = SON([("_id", op.id)])
                for name, want in op.body[0].items():
                    operators = [k for k in want if k[:1] == "$"] if isinstance(want, SON) else []
                    if name[:1] == "$" or "." in name or operators not in ([], ["$eq"], ["$exists"]):
                        raise Unknown(f"an upsert with the filter {op.body[0]}")
                    if operators != ["$exists"]:
                        base.setdefault(name, want["$eq"] if operators else want)
            doc = updated(base, op.body[1], old is None)
        elif op.kind == REPLACE:
            doc = SON([("_id", op.id), *((k, v) for k, v in op.body[1].items() if k != "_id")])
        if doc is not None:
            self.judge(op.name, doc)
            self.documents[where] = doc
            self.gone.discard(where)
        elif old is not None:
            del self.documents[where]
            self.gone.add(where)

    def judge(self, name, doc):
        if "_mod" in doc:
            raise Refused("reserved")
        if len(encoded(doc)) > 1 << 20:
            raise Refused("too_large")
        if name == DEFINITIONS:
            if not set(doc) <= DEFINITION:
                raise Refused("definition")
            return
        d = self.documents.get((DEFINITIONS, key_of(name)), {})
        if d.get("rules") or d.get("next") or d.get("level", "strict") != "strict" or d.get("action") == "warn":
            raise Unknown("rules, migrations and levels")
        if d.get("schema") and not fits_schema(doc, json.loads(d["schema"])):
            raise Refused("schema")

    def hash(self):
        lanes = [0] * 1024

        def plus(*parts):
            for i, lane in enumerate(struct.unpack("<1024H", blake3(blake3(b"".join(parts)), 2048))):
                lanes[i] = lanes[i] + lane & 0xFFFF

        def at(name, key):
            return uvarint(len(name.encode())) + name.encode() + uvarint(len(key)) + key

        for where, doc in self.documents.items():
            plus(b"\1", at(*where), encoded(doc))
        for where in self.gone:
            plus(b"\2", at(*where))
        for (time, log, record, index), code in self.refused.items():
            plus(b"\3", u64(time), log, record, struct.pack(">I", index), bytes([CODES.index(code)]))
        return blake3(struct.pack("<1024H", *lanes))


def placed(records, void):
    """Records in the order of their places: docs/design/places.md. Each has time, log, seq, hash, flags and payload; by,
    its author as (identity, seniority), the seniority None for nobody; may, that it can write horizons; and before(x),
    whether it is x or comes before it in its log. void says of a head that is not
    among them, and of the time of who names it, that it never counts, and nobody need have it, or it is held."""
    held = {(r.log, r.seq, r.hash): r for r in records}

    def named(h, x):
        """Whether h comes after x, or names x or what comes after it."""
        if x.log == h.log:
            return x.seq < h.seq and x.before(h)
        return any(log == x.log and (hash == x.hash or x.seq < seq and (head not in held or x.before(held[head])))
                   for head in h.horizon.view for log, seq, hash in [head])

    def rules(a, b):
        return a[1] is not None and (a[0] == b[0] or a[1] < b[1])

    force = []
    for r in sorted(records, key=lambda r: (r.time, r.log, r.hash)):
        r.first = r.time
        try:
            r.horizon = None if r.flags & 1 else read_horizon(r.payload)
        except Bad:
            r.horizon = None
        if not r.horizon or not r.may or r.horizon.t >= r.time:
            continue
        if any(held[g].time >= r.time if g in held else not void(g, r.time) for g in r.horizon.view):
            continue
        r.sees = set()
        for o in force:
            if o.time < r.time and named(r, o):
                r.sees |= {o.hash} | o.sees
        last = [o for o in force if o.hash in r.sees and not any(p.hash in r.sees and o.hash in p.sees for p in force)]
        if not any(o.horizon.t > r.horizon.t or not all(named(r, held[g]) for g in o.horizon.view if g in held) for o in last):
            force.append(r)

    def kept(h, x):
        """Whether what rules h has settled x, and h came late."""
        near = [o for o in force if o.horizon.t >= x.time and saw(o, x)]
        return any(rules(o.by, h.by) and h.hash not in o.sees and o.hash not in h.sees
                   and not any(rules(z.by, o.by) and h.hash in z.sees and o.hash not in z.sees for z in near) for o in near)

    def saw(h, x):
        return x.time < h.time and named(h, x)

    for x in records:
        try:
            moves = not x.horizon and not hasattr(read_operations(x.payload)[0], "view")
        except (Bad, UnicodeDecodeError):
            moves = False
        for h in force if moves else []:
            senior = rules(x.by, h.by) and x.by[0] != h.by[0]
            if h.horizon.t >= x.time and not saw(h, x) and not senior and not kept(h, x):
                x.first = max(x.first, h.horizon.t + 1)
    return sorted(records, key=lambda r: (r.first, r.time, r.log, r.hash))


def floor(checkpoints, log):
    """The heads that a log is cut off at: those of the checkpoint that has seen the others, or names the highest."""
    named = {c.hash: sorted((p for p in c.say.heads if p[0] == log), key=lambda p: p[1:]) for c in checkpoints}
    last = [c for c in checkpoints if named[c.hash]
            and not any(o is not c and named[o.hash] and c.hash in o.seen for o in checkpoints)]
    best = max(last, key=lambda c: (named[c.hash][-1][1:], c.hash))
    least = max((named[c.hash][-1][1] for c in last if c is not best), default=0)
    return [p for p in named[best.hash] if p[1] >= least]


def above(d, r, heads):
    """Whether a record counts above the floor of its log: it descends from one of the heads."""
    while r and heads:
        if any(tuple(p[1:]) == (r.seq - 1, r.prev) for p in heads):
            return True
        r = d.records.get(r.prev)
    return not heads


def fold(thread, authority):
    """What counts, in the order of places, on top of the snapshots in force: docs/design/checkpoints.md."""
    state, counting, void = State(), [], []
    checkpoints = [r for r in thread.control.values() if r.op == "checkpoint" and r.hash in authority.acting]
    floors = {log: floor(checkpoints, log) for c in checkpoints for log, _, _ in c.say.heads}
    for c in sorted(checkpoints, key=lambda c: c.say.snapshot[0]):
        log, last, hash = c.say.snapshot
        alone, chain, records = State(), [], thread.logs[log].records
        if max((p[1] for p in floors.get(log, [])), default=0) >= last:
            continue  # a later checkpoint covers it
        while hash:
            chain.append(records[hash])
            hash = chain[-1].prev
        need(chain[0].seq == last and thread.logs[log].kind == SNAPSHOT, "checkpoint: its snapshot")
        for name, _, doc in (d for r in chain for d in read_snapshot(thread.open_data(r)[1])):
            alone.documents[name, key_of(doc["_id"])] = doc
        tag = mac(thread.keys[thread.id], label("weft/1/state", thread.id), alone.hash())
        need(tag == c.say.tag, "checkpoint: its documents have another state hash")
        state.documents.update(alone.documents)
    for d in thread.logs.values():
        for r in d.records.values():
            if d.kind == DATA and above(d, r, floors.get(d.id)):
                (counting if authority.counts(r) else void).append(r)
    for r in counting:
        r.flags, r.payload = thread.open_data(r)
        e = authority.defines(r)
        r.by = (e.identity, (e.role, e.path)) if e else (None, None)
        r.may = bool(e) and e.role <= ADMIN

        def before(x, r=r):
            while x and x.seq > r.seq:
                x = r.of.records.get(x.prev)
            return x is r
        r.before = before
    gone = {(r.log, r.seq, r.hash): r for r in void}

    def settled(head, time):
        below = any(head[1] <= p[1] for p in floors.get(head[0], []))
        return below or head in gone and gone[head].time < time

    for r in placed(counting, settled):
        state.record(r, r.flags, r.payload)
    return state, counting, void
