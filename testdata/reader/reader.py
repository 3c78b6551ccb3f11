#!/usr/bin/python3
"""A second reader of Weft, written from docs/ alone, without a look at the Go code: see README.md.

Given a backup it verifies every thread in it, opens the records with the keys of the home, folds
them, and compares documents, state hash and files with what is expected."""
import argparse
import base64
import hashlib
import json
import os
import struct
import sys
from types import SimpleNamespace

import bson
import cbor2
import zstandard
from bson import json_util
from bson.codec_options import CodecOptions
from bson.int64 import Int64
from bson.son import SON
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from public import (Bad, Unknown, base32, blake3, check_key, did, hkdf, hpke_open, mac, need, open_age, peer,
                    unixfs, unseal, uvarint)

# ---------------------------------------------------------------- bytes: docs/design.md, Encodings


class Bytes:
    """Reads from bytes, and never past their end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        need(self.at + n <= len(self.data), "cut short")
        self.at += n
        return self.data[self.at - n:self.at]

    def uint(self, n):
        return int.from_bytes(self.take(n), "big")

    def uvarint(self):
        value = shift = 0
        while True:
            b = self.take(1)[0]
            value, shift = value | (b & 127) << shift, shift + 7
            need(value < 1 << 64, "uvarint too large")
            if b < 128:
                need(b or shift == 7, "uvarint not in its shortest form")
                return value

    def prefixed(self):
        return self.take(self.uvarint())

    def rest(self):
        return self.take(len(self.data) - self.at)

    def end(self):
        need(self.at == len(self.data), "bytes behind the end")


# Shapes of canonical CBOR: a number is itself, UINT any number, (low, high) bytes of that length,
# TEXT, BOOL, [shape…] an array of these, Many(shape) of any length, Maybe(shape) that or null.
UINT, BOOL, TEXT = "uint", "bool", "text"
B16, B32, B64 = (16, 16), (32, 32), (64, 64)


def to(high):
    return 0, high


class Many:
    def __init__(self, shape, low=0, high=1 << 20):
        self.shape, self.low, self.high = shape, low, high


class Maybe:
    def __init__(self, shape):
        self.shape = shape


def fits(value, shape):
    if isinstance(shape, Maybe):
        return value is None or fits(value, shape.shape)
    if isinstance(shape, Many):
        return (type(value) is list and shape.low <= len(value) <= shape.high
                and all(fits(v, shape.shape) for v in value))
    if type(shape) is list:
        return type(value) is list and len(value) == len(shape) and all(map(fits, value, shape))
    if type(shape) is tuple:
        return type(value) is bytes and shape[0] <= len(value) <= shape[1]
    if shape in (BOOL, TEXT):
        return type(value) is (bool if shape == BOOL else str)
    return type(value) is int and (0 <= value < 1 << 64 if shape == UINT else value == shape)


def decode(data, shape, what, limit=1 << 20):
    """Decodes canonical CBOR of a shape: bounded, of these types only, and the same bytes when encoded."""
    need(len(data) <= limit, f"{what}: {len(data)} bytes")
    try:
        value = cbor2.loads(data)
    except Exception as e:
        raise Bad(f"{what}: {e}")
    need(fits(value, shape), f"{what}: not its form: {value!r}")
    need(cbor2.dumps(value) == data, f"{what}: not canonical")
    return value


def fields(data, table, what, limit=1 << 20):
    """Decodes an array whose fields have names; to add a field, add it to its table."""
    values = decode(data, [shape for _, shape in table], what, limit)
    return SimpleNamespace(raw=data, **{name: v for (name, _), v in zip(table, values)})


def ascending(items, what):
    need(all(a < b for a, b in zip(items, items[1:])), f"{what}: not sorted")


def chunks(data, n, what):
    need(len(data) % n == 0, f"{what}: not a multiple of {n} bytes")
    return [data[i:i + n] for i in range(0, len(data), n)]


def u64(n):
    return struct.pack(">Q", n)


def label(domain, *parts):
    return domain.encode() + b"\0" + b"".join(parts)


def h(domain, *parts):
    return hashlib.sha256(label(domain, *parts)).digest()


def verify(key, signature, domain, parts, what):
    check_key(key, what)
    try:  # OpenSSL: S below the order, the equation without the cofactor, R compared as bytes
        Ed25519PublicKey.from_public_bytes(key).verify(signature, label(domain, *parts))
    except InvalidSignature:
        raise Bad(f"{what}: signature")


# ---------------------------------------------------------------- the backup: docs/design/transfer.md


def read_backup(data, passphrase):
    """The files and the store of a backup; digest, counts and hashes compared."""
    if data.startswith(b"age-encryption.org"):
        data = open_age(data, passphrase())
    line, _, packed = data.partition(b"\n")
    need(line.startswith(b"weft backup "), "not a backup")
    if line.split(b" ")[2] not in (b"4",):
        raise Unknown(f"backup version {line.decode()}")
    unpack = zstandard.ZstdDecompressor().decompressobj()
    r = Bytes(unpack.decompress(packed))
    need(not unpack.unused_data, "bytes behind the end")
    files, store, manifest = {}, [], None
    for kind in iter(lambda: r.take(1), b"e"):
        if kind == b"f":
            name = r.prefixed().decode()
            files[name] = r.prefixed()
        elif kind == b"s":
            count, pairs = r.uvarint(), Bytes(r.prefixed())
            store += [(pairs.prefixed(), pairs.prefixed()) for _ in range(count)]
            pairs.end()
        else:
            need(kind == b"m" and manifest is None, "unknown entry")
            manifest = json.loads(r.prefixed())
    need(hashlib.sha256(r.data[:r.at]).digest() == r.take(32), "digest")
    r.end()
    ascending([k for k, _ in store], "store")
    sums = [(n.encode() + b"\0" + hashlib.sha256(c).digest(), len(c)) for n, c in files.items()]
    pairs = [(uvarint(len(k)) + k + uvarint(len(v)) + v, len(k) + len(v)) for k, v in store]
    for name, items in ("files", sums), ("store", pairs):
        want, got = manifest[name], hashlib.sha256(b"".join(i for i, _ in items)).hexdigest()
        need((want["count"], want["bytes"], want["hash"]) == (len(items), sum(n for _, n in items), got), name)
    return SimpleNamespace(line=line.decode(), files=files, store=store, manifest=manifest)


def key_file(files, name, kind, size):
    line = json.loads(files[name])
    if "sealed" in line:
        raise Unknown(f"{name} is sealed with the home's passphrase")
    secret = base64.b64decode(line["secret"], validate=True)
    need(line["weft"] == 1 and line["kind"] == kind and len(secret) == size, name)
    return secret


# ---------------------------------------------------------------- formats: docs/design.md, keys.md

CERTIFICATE = [("version", 1), ("suite", 1), ("identity", B32), ("device", B32), ("sealing", B32), ("issued", UINT),
               ("expires", UINT), ("name", TEXT), ("signature", B64)]
GENESIS = [("version", 1), ("suite", 1), ("owner", B32), ("certificate", to(512)), ("salt", B32), ("semantics", 1),
           ("rules", B32), ("read", B32), ("service", B32), ("time", UINT)]
DESCRIPTOR = [("version", 1), ("suite", 1), ("device", B32), ("kind", UINT), ("incarnation", B16), ("control", to(32))]
CONTROL, DATA, SNAPSHOT = 1, 2, 3
HEADER = [("version", 1), ("suite", 1), ("log", B32), ("seq", UINT), ("prev", to(32)), ("time", UINT),
          ("control", Many(B32, 0, 16)), ("epochs", Many(B32, 1, 8)), ("root", B32),
          ("extensions", Many([UINT, BOOL, to(1024)]))]
POSITION = [B32, UINT, B32]
VIEW = Many(POSITION, 0, 2000)
EPOCH = [to(32), to(88 * 3000), to(112 * 512), to(1 << 19)]  # commitment, devices, invites, previous
OPS = {  # number: name, fields, the largest payload
    1: ("open", [("name", to(128))], 4096),
    2: ("invite", [("key", B32), ("role", UINT), ("expires", UINT), ("uses", UINT), ("sealed", to(4096))], 4096),
    3: ("join", [("invite", B32), ("certificate", to(512)), ("descriptor", to(128)), ("signature", B64)], 4096),
    4: ("close", [("invite", B32), ("joins", to(1 << 12))], 4096),
    5: ("log", [("descriptor", to(128))], 4096),
    7: ("role", [("subject", B32), ("role", UINT), ("logs", to(1 << 18)), ("view", VIEW)], 1 << 18),
    8: ("remove", [("subject", B32), ("joins", to(1 << 19)), ("view", VIEW), ("epoch", Maybe(EPOCH))], 1 << 19),
    9: ("rotate", [("epoch", EPOCH)], 1 << 19),
    10: ("checkpoint", [("heads", Many(POSITION, 0, 384)), ("snapshot", POSITION), ("tag", B32)], 1 << 15),
    13: ("admit", [("joins", to(1 << 12))], 4096),
    14: ("transfer", [("subject", B32), ("logs", to(1 << 18)), ("view", VIEW)], 1 << 18),
}
OWNER, ADMIN, WRITER, READER, RELAY = 1, 2, 3, 4, 5
ROLES = ["", "owner", "admin", "writer", "reader", "relay"]


def certificate(data):
    c = fields(data, CERTIFICATE, "certificate", 512)
    need(len(c.name.encode()) <= 128, "certificate: name")
    verify(c.identity, c.signature, "weft/1/certificate", [cbor2.dumps(cbor2.loads(data)[:-1])], "certificate")
    check_key(c.device, "certificate")
    return c


def genesis(signed):
    data, signature = decode(signed, [to(1024), B64], "genesis", 2048)
    g = fields(data, GENESIS, "genesis", 1024)
    g.device = certificate(g.certificate)
    need(g.device.identity == g.owner, "genesis: the certificate is of another identity")
    verify(g.device.device, signature, "weft/1/genesis", [data], "genesis")
    g.thread = h("weft/1/thread", signed)
    return g


def descriptor(data, thread):
    d = fields(data, DESCRIPTOR, "descriptor", 128)
    need(d.kind in (CONTROL, DATA, SNAPSHOT), "descriptor: kind")
    need(len(d.control) == (0 if d.kind == CONTROL else 32), "descriptor: control log")
    check_key(d.device, "descriptor")
    d.id = h("weft/1/log", thread, data)
    return d


def header(data, thread):
    r = fields(data, HEADER, "header", 1024)
    need(r.seq > 0 and len(r.prev) == (32 if r.seq > 1 else 0), "header: prev")
    for name in "control", "epochs", "extensions":
        ascending(getattr(r, name), f"header: {name}")
    for number, critical, _ in r.extensions:
        if critical:
            raise Unknown(f"critical extension {number}")
    r.hash = h("weft/1/record", thread, data)
    return r


class Body:
    def __init__(self, data, root):
        r = Bytes(data)
        self.salt, self.commit, count = r.take(24), r.take(32), r.uvarint()
        need(1 <= count <= 16, "body: pieces")
        self.pieces = [r.take(r.uint(4)) for _ in range(count)]
        r.end()
        sums = [hashlib.sha256(p).digest() for p in self.pieces]
        need(h("weft/1/body", self.salt, self.commit, uvarint(count), *sums) == root, "body: root")

    def open(self, key, thread, log, seq):
        """Flags and payload."""
        keys = hkdf(key, self.salt, label("weft/1/seal", thread, log, u64(seq)), 64)
        need(keys[32:] == self.commit, "body: sealed with another key")
        plain = b""
        for i, piece in enumerate(self.pieces):
            nonce = struct.pack(">I", i) + bytes(7) + bytes([i == len(self.pieces) - 1])
            r = Bytes(unseal(keys[:32], nonce, piece, b"", "body"))
            method, size, part = r.uint(1), r.uvarint(), r.rest()
            need(method < 2 and 0 < size <= 65536, "piece: method or size")
            if method == 1:
                need(part[:4] == bytes.fromhex("28b52ffd") and part[4] & 0x2F == 0x20, "piece: form of the frame")
                need(zstandard.frame_content_size(part) == size, "piece: size of the frame")
                unpack = zstandard.ZstdDecompressor().decompressobj()
                part = unpack.decompress(part)
                need(not unpack.unused_data, "piece: bytes behind the frame")
            need(len(part) == size, "piece: size")
            plain += part
        flags, payload = decode(plain, [UINT, to(1 << 20)], "plaintext")
        need(flags < 2, "plaintext: flags")
        return flags, payload


# ---------------------------------------------------------------- a thread: docs/design/net.md


class Thread:
    """The logs of a thread as the rows of a store have them; all is verified, nothing is taken on trust."""

    def __init__(self, rows, device):
        self.genesis = genesis(rows[b"g"])
        self.id = self.genesis.thread
        self.load_keys(rows[b"k"], device)
        numbers = {k.uint(4): descriptor(v, self.id) for k, v in self.rows(rows, b"l")}
        self.logs = {d.id: d for d in numbers.values()}
        for d in self.logs.values():
            d.records = {}
        for k, v in self.rows(rows, b"r"):
            self.add(numbers[k.uint(4)], k, Bytes(v))
        held = set().union(*(self.check_branch(numbers[k.uint(4)], v) for k, v in self.rows(rows, b"h")))
        need(held == {r for d in self.logs.values() for r in d.records}, "a record that no branch has")
        self.control, self.blobs = {}, {k.rest(): v[12:] for k, v in self.rows(rows, b"b")}
        control = [r for d in self.logs.values() if d.kind == CONTROL for r in d.records.values()]
        for r in sorted(control, key=lambda r: r.time):
            self.read_control(r)

    @staticmethod
    def rows(rows, kind):
        return [(Bytes(k[1:]), v) for k, v in rows.items() if k[:1] == kind]

    def load_keys(self, sealed, device):
        plain = hpke_open(device, sealed, label("weft/1/keys/device", self.id), b"", "keys of the thread")
        relay, keys, _ = decode(plain, [BOOL, to(1 << 20), to(1 << 10)], "keys of the thread")
        if relay:
            raise Unknown("this home keeps the thread as a relay: it cannot read it")
        self.service, epochs = decode(keys, [B32, to(1 << 20)], "keys of the thread")
        pairs = chunks(epochs, 64, "keys of the thread")
        ascending(pairs, "keys of the thread")
        self.keys = {p[:32]: p[32:] for p in pairs}
        need(h("weft/1/key-commit", self.service) == self.genesis.service, "the service key is not the genesis'")
        need(h("weft/1/key-commit", self.keys[self.id]) == self.genesis.read, "the read key is not the genesis'")

    def add(self, d, key, row):
        signed = row.uint(1)
        need(signed < 2, "record: row")
        signature = row.take(64) if signed else b""
        r = header(row.take(row.uint(2)), self.id)
        need(r.log == d.id and key.uint(8) == r.seq and key.rest() == r.hash[:16], "record: another place")
        body = row.rest()
        r.of, r.signature, r.size, r.body = d, signature, len(r.raw) + len(body), Body(body, r.root)
        if signature:
            verify(d.device, signature, "weft/1/head", [self.id, r.hash], f"record {r.seq} of {d.id.hex()[:8]}")
        d.records[r.hash] = r

    def check_branch(self, d, row):
        """From the tip back to the base: hashes, positions, rising clocks, and a signature that covers what is sent."""
        b = decode(row, [UINT, B32, UINT, B32, UINT, UINT, B32, UINT, B32, UINT, UINT], "branch")
        base, tip, signed, what = (b[0], b[1]), (b[2], b[3]), b[5], f"log {d.id.hex()[:8]}"
        at, later, covered, seen = tip, 1 << 64, False, []
        while at != base:
            need(at[1] in d.records, f"{what}: record {at[0]} is missing")
            r = d.records[at[1]]
            need(r.seq == at[0] and r.time < later, f"{what}: position or clock of {r.seq}")
            covered = covered or bool(r.signature)
            need(covered or r.seq > signed, f"{what}: record {r.seq} is not signed")
            at, later = (r.seq - 1, r.prev or bytes(32)), r.time
            seen.append(r)
        need(len(seen) == b[9] and sum(r.size for r in seen) == b[10], f"{what}: counts")
        return [r.hash for r in seen]

    def read_control(self, r):
        """Opens a control record and checks what can be checked of it by itself."""
        what = f"control record {r.seq} of {r.log.hex()[:8]}"
        flags, payload = r.body.open(self.service, self.id, r.log, r.seq)
        number, body = decode(payload, [UINT, to(1 << 20)], what)
        if number not in OPS:
            raise Unknown(f"{what}: operation {number}")
        r.op, table, limit = OPS[number]
        need(len(payload) <= limit and flags == 0 and r.epochs == [self.id], f"{what}: size, flags or epochs")
        r.say = fields(body, table, what, limit)
        parents = {*r.control, *([r.prev] if r.prev else [])}
        need(all(p in self.control for p in parents), f"{what}: a parent is not held, or not earlier")
        need((r.op in ("open", "join")) == (r.seq == 1) and (r.op == "open") == (not parents), f"{what}: a {r.op} here")
        r.seen = {r.hash}.union(*(self.control[p].seen for p in parents))
        self.control[r.hash] = r
        if r.op == "open":
            need(r.of.device == self.genesis.device.device, f"{what}: another device than the genesis'")
            r.identity = self.genesis.owner
        elif r.op == "join":
            need(r.say.invite in r.seen and self.control[r.say.invite].op == "invite", f"{what}: its invite")
            c, invite = certificate(r.say.certificate), self.control[r.say.invite]
            need(c.device == r.of.device, f"{what}: the certificate is of another device")
            parts = [self.id, r.log, r.say.certificate, r.say.descriptor]
            verify(invite.say.key, r.say.signature, "weft/1/join", parts, what)
            r.identity = c.identity
        if r.op in ("join", "log"):
            d = descriptor(r.say.descriptor, self.id)
            need(d.control == r.log and d.device == r.of.device, f"{what}: a log of another device")
            r.announces = d.id
        for name in "joins", "logs":
            if hasattr(r.say, name):
                setattr(r.say, name, chunks(getattr(r.say, name), 32, what))
                ascending(getattr(r.say, name), what)
        ascending([(p[0], p[2]) for p in getattr(r.say, "view", [])], what)
        if getattr(r.say, "epoch", None):
            self.read_epoch(r.hash, *r.say.epoch)

    def read_epoch(self, name, commit, devices, invites, previous):
        """An epoch: its form, and of one that this home has the key of the commitment and the keys before it."""
        ascending(chunks(devices, 88, "epoch: devices"), "epoch: devices")
        ascending(chunks(invites, 112, "epoch: invites"), "epoch: invites")
        key = self.keys.get(name)
        if key:
            need(h("weft/1/key-commit", key) == commit, "epoch: its key is not what it commits to")
            wrap = hkdf(key, b"", label("weft/1/epoch/previous", self.id))
            before = chunks(unseal(wrap, bytes(12), previous, commit, "epoch: previous"), 64, "epoch: previous")
            ascending(before, "epoch: previous")
            need(all(self.keys.get(p[:32]) == p[32:] for p in before), "epoch: previous keys")

    def key(self, epochs):
        """The name and the read key of these epochs together."""
        if any(e not in self.keys for e in epochs):
            raise Unknown("an epoch that this home has no key of")
        if len(epochs) == 1:
            return epochs[0], self.keys[epochs[0]]
        joined = b"".join(self.keys[e] for e in epochs)
        return h("weft/1/epochs", self.id, *epochs), hkdf(joined, b"", label("weft/1/epochs", self.id, *epochs))

    def open_data(self, r):
        return r.body.open(self.key(r.epochs)[1], self.id, r.log, r.seq)

    def open_blob(self, id, files):
        sealed = self.blobs.get(id)
        if not sealed:
            sealed = files[f"blobs/{self.id[:8].hex()}/{id[:1].hex()}/{id.hex()}"]
        need(hashlib.sha256(sealed).digest() == id, "blob: another name")
        r = Bytes(sealed)
        need(r.take(2) == b"\1\1", "blob: version or suite")
        epoch, salt = r.take(32), r.take(32)
        lists = [[e] for e in self.keys] + [r.epochs for d in self.logs.values() for r in d.records.values()]
        key = dict(self.key(e) for e in lists)[epoch]
        plain = unseal(hkdf(key, salt, label("weft/1/blob/key", self.id, epoch)), bytes(12), r.rest(), b"", "blob")
        need(mac(hkdf(key, b"", label("weft/1/blob/salt", self.id, epoch)), plain) == salt, "blob: salt")
        return plain


# ---------------------------------------------------------------- who may do what: docs/design/authority.md


class Authority:
    """The control fold: entries from an agenda, the most senior first, in one pass.

    Not here, as no story has them: forks of control logs, transfers, who leaves."""

    def __init__(self, thread):
        self.control, self.entries, self.acting, self.cuts = thread.control, [], {}, []
        first = [r for r in self.control.values() if r.op == "open"]
        need(len(first) == 1, "not one open")
        agenda = [self.entry(first[0], first[0], OWNER, (), first[0].identity)]
        while agenda:
            e = min(agenda, key=lambda e: (e.role, e.path))
            agenda.remove(e)
            self.entries.append(e)
            for r in sorted(e.first.of.records.values(), key=lambda r: r.seq):
                if r.hash not in self.acting and self.covers(e, r) and self.allows(e, r):
                    self.acting[r.hash] = e
                    agenda += self.act(e, r)
        self.members = [e for e in self.entries if not self.limits(e)]

    @staticmethod
    def entry(first, grant, role, path, identity):
        return SimpleNamespace(first=first, grant=grant, role=role, path=path, identity=identity)

    def limits(self, e):
        """The cuts that apply to an entry."""
        def again(c):  # granted again by a record that has seen the cut, by a role not below its author's
            author = self.acting.get(e.grant.hash)
            return e.grant.op in ("role", "transfer") and c.hash in e.grant.seen and author.role <= c.by.role
        return [c for c in self.cuts if c.say.subject in (e.identity, e.first.of.device) and c is not e.grant
                and (c.by.role, c.by.path) < (e.role, e.path) and not again(c)]

    def covers(self, e, r):
        return (e.first.hash in r.seen and all(r.hash in c.seen for c in self.limits(e))
                and (e.grant.op != "role" or e.grant.hash in r.seen))

    def allows(self, e, r):
        if r.op in ("invite", "role"):
            highest = WRITER if r.op == "invite" or e.role == ADMIN else OWNER
            return e.role <= ADMIN and highest <= r.say.role <= (READER if r.op == "invite" else RELAY)
        if r.op in ("close", "admit", "rotate"):
            return e.role <= ADMIN
        if r.op == "remove":
            return e.role <= ADMIN or r.say.subject == e.first.of.device
        if r.op == "transfer":
            raise Unknown("a transfer")
        if r.op == "checkpoint":
            before = [c for c in self.control.values() if c.op == "checkpoint" and c.hash in r.seen and c is not r]
            heads, log = {p[0]: p[1] for p in r.say.heads}, r.say.snapshot[0]
            ascending([p[0] for p in r.say.heads], "checkpoint: heads")
            need(any(getattr(s, "announces", None) == log and s.log == r.log for s in self.control.values()
                     if s.hash in r.seen), "checkpoint: its snapshot log")
            need(all(c.say.snapshot[0] != log and all(heads.get(p[0], p[1] + 1) > p[1] for p in c.say.heads)
                     for c in before), "checkpoint: below an earlier one")
            return e.path == ()
        return True  # open, join, log

    def act(self, e, r):
        """What a record does; the entries that it grants."""
        path = e.path + (r.seq,)
        acting = [c for c in self.control.values() if c.hash in self.acting]
        if r.op in ("role", "remove"):
            r.by = e
            self.cuts.append(r)
        if r.op == "role":
            logs = [self.control[f] for f in r.say.logs]
            return [self.entry(f, r, r.say.role, path, r.say.subject) for f in logs if f.identity == r.say.subject]
        if r.op == "invite":
            listed = {j for c in acting for j in getattr(c.say, "joins", [])}
            closed = any(c.op == "close" and c.say.invite == r.hash
                         or c.op == "remove" and c.hash not in r.seen and c.by.role <= ADMIN for c in acting)
            return [self.entry(j, r, r.say.role, path, j.identity) for j in self.control.values()
                    if j.op == "join" and j.say.invite == r.hash and (not closed or j.hash in listed)]
        return []

    def counts(self, x):
        """The entry of a role that writes under which a data record counts, or None."""
        need(x.control and all(c in self.control for c in x.control), "data record: control heads")
        seen = set().union(*(self.control[c].seen for c in x.control))
        announced = any(getattr(self.control[s], "announces", None) == x.log and s in self.acting for s in seen)
        for e in self.entries if announced else []:
            if (e.role <= WRITER and e.first.log == x.of.control and e.first.hash in seen
                    and all(self.has_seen(c, x) for c in self.limits(e))
                    and not (e.grant.op == "role" and self.has_seen(e.grant, x))):
                return e
        return None

    def has_seen(self, c, x):
        """Whether a cut has seen a data record: its view, or that of a record that it has seen, reaches it."""
        for head in (p[2] for s in c.seen for p in getattr(self.control[s].say, "view", []) if p[0] == x.log):
            r = x.of.records.get(head)
            while r and r.seq > x.seq:
                r = x.of.records.get(r.prev)
            if r is x:
                return True
        return False


# ---------------------------------------------------------------- values: docs/design/query.md, as far as stories need

OPTIONS = CodecOptions(document_class=SON, tz_aware=True)
NUMBERS = (int, Int64, float)


def document(data):
    try:
        value = bson.decode(data, OPTIONS)
    except bson.errors.BSONError as e:
        raise Bad(f"BSON: {e}")
    need(bson.encode(value) == data, "BSON: not the same bytes when encoded")
    return value


def key_of(value):
    """The order-preserving key of an _id."""
    if isinstance(value, str):
        return b"\x1c" + value.encode().replace(b"\0", b"\0\xff") + b"\0\x01"
    if type(value) in NUMBERS and value > 0 and float(value) == value:
        return b"\x17" + struct.pack(">d", value) + b"\0"
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


def updated(doc, update):
    """$set, $unset, $inc and $addToSet; new fields follow in order of name."""
    doc = document(bson.encode(doc))
    changes = [(path.split("."), op, value) for op, paths in update.items() for path, value in paths.items()]
    for path, op, value in sorted(changes, key=lambda c: c[0]):
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
        elif op == "$addToSet" and (old is None or isinstance(old, list)) and "$each" not in (value or []):
            at[name] = (old or []) + ([] if any(same(v, value) for v in old or []) else [value])
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


# ---------------------------------------------------------------- records and fold: docs/design/db.md

INSERT, UPDATE, REPLACE, DELETE = 1, 2, 3, 4
CODES = ["", "malformed", "duplicate_key", "no_match", "schema", "update", "reserved", "definition", "atomic",
         "too_large", "rule", "too_costly"]
DEFINITIONS = "system.collections"
DEFINITION = {"_id", "version", "schema", "formats", "level", "action", "rules", "indexes", "next", "steps"}


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
        begin, before = r.at, ops[-1] if ops and ops[-1].kind == op.kind != INSERT else None
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
        """The operations of one record, which come one after the other in the order of stamps."""
        try:
            ops = read_operations(payload)
        except (Bad, UnicodeDecodeError):
            self.refused[r.time, r.log, r.hash, 0] = "malformed"
            return
        before, codes = (dict(self.documents), set(self.gone)), {}
        for i, op in enumerate(ops):
            try:
                self.apply(op)
            except Refused as e:
                codes[i] = str(e)
        if flags & 1 and codes:
            self.documents, self.gone = before
            codes = {i: codes.get(i, "atomic") for i in range(len(ops))}
        self.refused.update({(r.time, r.log, r.hash, i): code for i, code in codes.items()})

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
            equal = {k: v for k, v in op.body[0].items() if k != "_id"}
            if old is None and equal:
                raise Unknown("an upsert whose filter has more than _id")
            doc = updated(SON(_id=op.id) if old is None else old, op.body[1])
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
        if len(bson.encode(doc)) > 1 << 20:
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
            plus(b"\1", at(*where), bson.encode(doc))
        for where in self.gone:
            plus(b"\2", at(*where))
        for (time, log, record, index), code in self.refused.items():
            plus(b"\3", u64(time), log, record, struct.pack(">I", index), bytes([CODES.index(code)]))
        return blake3(struct.pack("<1024H", *lanes))


def fold(thread, authority):
    """What counts, in the order of stamps, on top of the snapshots in force: docs/design/checkpoints.md."""
    state, floors, counting, void = State(), {}, [], []
    checkpoints = [r for r in thread.control.values() if r.op == "checkpoint" and r.hash in authority.acting]
    for log, seq, _ in (p for c in checkpoints for p in c.say.heads):
        floors[log] = max(seq, floors.get(log, 0))
    for c in sorted(checkpoints, key=lambda c: c.say.snapshot[0]):
        log, last, hash = c.say.snapshot
        alone, chain, records = State(), [], thread.logs[log].records
        if floors.get(log, 0) >= last:
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
            if d.kind == DATA and r.seq > floors.get(d.id, 0):
                (counting if authority.counts(r) else void).append(r)
    for r in sorted(counting, key=lambda r: (r.time, r.log, r.hash)):
        state.record(r, *thread.open_data(r))
    return state, counting, void


# ---------------------------------------------------------------- buckets: docs/design/buckets.md

MANIFEST = [1, 1, Many([B32, UINT, B32], 1, 4096)]
LEAF = 262144


def read_file(thread, files, entry):
    """The bytes of the version of a file that is read, every leaf and the CID checked."""
    cid = entry["cid"] if entry["cid"] in entry["v"] else list(entry["v"])[-1]
    version = entry["v"][cid]
    if "manifests" in version:
        opened = [decode(thread.open_blob(bytes(b), files), MANIFEST, "manifest")[2] for b in version["manifests"]]
        need(all(len(m) == 4096 for m in opened[:-1]), "manifest: leaves")
        leaves = [leaf for m in opened for leaf in m]
        need(len(leaves) > 1 and all(size == LEAF for _, size, _ in leaves[:-1]), "manifest: sizes")
        parts = [thread.open_blob(blob, files) for _, _, blob in leaves]
        need([(hashlib.sha256(p).digest(), len(p)) for p in parts] == [(s, n) for s, n, _ in leaves], "leaf: sum")
    else:
        parts = [thread.open_blob(bytes(version["blob"]), files) if "blob" in version else b""]
    sums = [(hashlib.sha256(p).digest(), len(p)) for p in parts]
    need(unixfs(sums) == (cid, version["size"], version["tsize"]), f"{entry['_id']}: CID, size or Tsize")
    return b"".join(parts)


# ---------------------------------------------------------------- the whole


class Report:
    def __init__(self):
        self.bad = 0

    def same(self, what, got, want):
        self.bad += got != want
        print(f"{'ok  ' if got == want else 'DIFFERS'} {what}" + ("" if got == want else f"\n  {got}\n  {want}"))


def show(thread, authority, state, counting, void):
    def short(b):
        return b.hex()[:8]
    for r in sorted(thread.control.values(), key=lambda r: r.time):
        say = {k: short(v) if isinstance(v, bytes) and k != "name" else v for k, v in vars(r.say).items()
               if k in ("name", "role", "key", "invite", "subject", "uses", "expires")}
        if "subject" in say:
            say["subject"] = did(r.say.subject)
        effect = "" if r.hash in authority.acting else " WITHOUT EFFECT"
        print(f"  {r.time >> 16} {short(r.log)}/{r.seq} {short(r.hash)} {r.op} {say}{effect}")
    for e in authority.entries:
        ends = "".join(f", ended by {c.op} {short(c.hash)}" for c in authority.limits(e))
        print(f"  {ROLES[e.role]} {did(e.identity)} device {peer(e.first.of.device)}{ends}")
    print(f"  epochs with a key here: {', '.join(short(e) for e in thread.keys)}")
    print(f"  {len(counting)} data records count, {len(void)} are void; {len(state.documents)} documents, "
          f"{len(state.gone)} tombstones, {len(state.refused)} refusals")


def compare(report, thread, authority, state, arguments):
    def load(path):
        return json.load(open(path))
    if arguments.export:
        options = json_util.JSONOptions(document_class=SON, tz_aware=True)
        want = {}
        for line in open(arguments.export):
            line = json_util.loads(line, json_options=options)
            if "definition" in line:
                want[DEFINITIONS, line["collection"], line["definition"]["_id"]] = bson.encode(line["definition"])
            elif "document" in line:
                want[line["collection"], "", line["document"]["_id"]] = bson.encode(line["document"])
        got = {(name, doc["_id"] if name == DEFINITIONS else "", doc["_id"]): bson.encode(doc)
               for (name, _), doc in state.documents.items()}
        report.same(f"{len(want)} documents and definitions of the export", got, want)
    if arguments.status:
        report.same("state hash of status", state.hash().hex(), load(arguments.status)["hash"])
    if arguments.info:
        info, logs = load(arguments.info), thread.logs.values()
        records = [r for d in logs for r in d.records.values()]
        report.same("heads, records and bytes of info", (
            {d.id.hex(): max(r.seq for r in d.records.values()) for d in logs if d.kind != CONTROL and d.records},
            len(records), sum(r.size for r in records)), (info["heads"], info["records"], info["bytes"]))
    if arguments.members:
        report.same("members", [(ROLES[e.role], did(e.identity), peer(e.first.of.device)) for e in authority.members],
                    [(m["role"], m["identity"], m["peer"]) for m in load(arguments.members)["members"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backup")
    parser.add_argument("--passphrase", default=os.environ.get("WEFT_BACKUP_PASSPHRASE", ""))
    for name in "export", "status", "info", "members", "folder":
        parser.add_argument("--" + name, help="compare with this output of weft" if name != "folder" else
                            "compare the files of all buckets with this folder")
    arguments, report = parser.parse_args(), Report()
    backup = read_backup(open(arguments.backup, "rb").read(), lambda: arguments.passphrase)
    print(f"{backup.line}: {len(backup.files)} files, {len(backup.store)} rows, digest and hashes right")

    secret, identity = key_file(backup.files, "device.key", "device", 64), certificate(backup.files["device.cert"])
    device, public = X25519PrivateKey.from_private_bytes(secret[32:]), (Encoding.Raw, PublicFormat.Raw)
    signer = Ed25519PrivateKey.from_private_bytes(secret[:32]).public_key().public_bytes(*public)
    need((identity.device, identity.sealing) == (signer, device.public_key().public_bytes(*public)), "device.cert")

    rows = dict(backup.store)
    names = {json.loads(v)["id"]: k[3:].decode() for k, v in rows.items() if k[:3] == b"wd/"}
    hashes = {d["id"]: d["hash"] for d in backup.manifest["databases"]}
    for k, number in [(k, v) for k, v in rows.items() if k[:2] == b"nT" and len(k) == 34]:
        prefix = b"nt" + number
        thread = Thread({k[6:]: v for k, v in rows.items() if k[:6] == prefix}, device)
        need(thread.id == k[2:], "a thread under another ID")
        id = base32(thread.id)
        print(f"thread {id} {names.get(id)!r}: genesis, certificates, {len(thread.logs)} logs right")
        authority = Authority(thread)
        state, counting, void = fold(thread, authority)
        show(thread, authority, state, counting, void)
        if id not in hashes:
            continue
        report.same("state hash of the backup", state.hash().hex(), hashes[id])
        compare(report, thread, authority, state, arguments)
        for (name, _), doc in state.documents.items():
            if name.startswith("bucket.") and doc["v"]:
                content = read_file(thread, backup.files, doc)
                print(f"ok   {name[7:]}/{doc['_id']}: {len(content)} bytes, CID right")
                if arguments.folder:
                    want = open(os.path.join(arguments.folder, doc["_id"]), "rb").read()
                    report.same("its content is the file's", hashlib.sha256(content).hexdigest(),
                                hashlib.sha256(want).hexdigest())
    return 1 if report.bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Bad, Unknown) as e:
        sys.exit(f"{type(e).__name__}: {e}")
