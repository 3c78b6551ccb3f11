"""Bytes and values: canonical CBOR, and the formats of docs/design.md and docs/design/keys.md."""
import hashlib
import struct
from types import SimpleNamespace

import cbor2
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from public import Bad, Unknown, check_key, hkdf, need, unseal, uvarint


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


# ---------------------------------------------------------------- certificates, threads, logs, records

CERTIFICATE = [("version", 1), ("suite", 1), ("identity", B32), ("device", B32), ("sealing", B32), ("issued", UINT),
               ("expires", UINT), ("name", TEXT), ("signature", B64)]
DELEGATION = [("version", 1), ("suite", 1), ("identity", B32), ("device", B32), ("sealing", B32), ("rights", UINT),
              ("generation", UINT), ("issued", UINT), ("expires", UINT), ("name", TEXT), ("signature", B64)]
CREATE, WRITE, ADMIT = 1, 2, 4  # rights of a delegation
GENESIS = [("version", 1), ("suite", 1), ("owner", B32), ("certificate", to(512)), ("salt", B32), ("semantics", 1),
           ("rules", B32), ("read", B32), ("service", B32), ("recovery", B32), ("sealed", to(512)), ("time", UINT)]
DESCRIPTOR = [("version", 1), ("suite", 1), ("device", B32), ("kind", UINT), ("incarnation", B16), ("control", to(32))]
CONTROL, DATA, SNAPSHOT = 1, 2, 3
HEADER = [("version", 1), ("suite", 1), ("log", B32), ("seq", UINT), ("prev", to(32)), ("time", UINT),
          ("control", Many(B32, 0, 16)), ("epochs", Many(B32, 1, 8)), ("root", B32),
          ("extensions", Many([UINT, BOOL, to(1024)], 0, 16))]
POSITION = [B32, UINT, B32]
VIEW = Many(POSITION, 0, 2000)
EPOCH = [B32, to(88 * 3000), to(112 * 512), to(1 << 19)]  # commitment, devices, invites, previous
OPS = {  # number: name, fields, the largest payload
    1: ("open", [("name", to(128))], 4096),
    2: ("invite", [("key", B32), ("role", UINT), ("expires", UINT), ("uses", UINT), ("sealed", to(1024))], 4096),
    3: ("join", [("invite", B32), ("certificate", to(512)), ("descriptor", to(112)), ("signature", B64)], 1024),
    4: ("close", [("invite", B32), ("joins", to(64000))], 64128),
    5: ("log", [("descriptor", to(112))], 4096),
    6: ("device", [("certificate", to(512)), ("sealed", to(1024)), ("delegated", UINT)], 4096),
    7: ("role", [("subject", B32), ("role", UINT), ("logs", to(64000)), ("view", VIEW)], 1 << 18),
    8: ("remove", [("subject", B32), ("joins", to(64000)), ("view", VIEW), ("epoch", Maybe(EPOCH))], 1 << 19),
    9: ("rotate", [("epoch", EPOCH)], 1 << 19),
    18: ("vouch", [("checkpoint", B32), ("state", B32)], 1 << 12),
    10: ("checkpoint", [("heads", Many(POSITION, 1, 384)), ("snapshot", POSITION), ("tag", B32)], 1 << 15),
    13: ("admit", [("joins", to(64000))], 64128),
    14: ("transfer", [("subject", B32), ("logs", to(64000)), ("view", VIEW)], 1 << 18),
    15: ("start", [("added", B32), ("descriptor", to(112))], 1024),
    16: ("recover", [("statement", to(1 << 18)), ("signature", B64)], 1 << 18),
    17: ("revoke", [("subject", B32), ("view", VIEW)], 1 << 18),
}
RECOVER = [("certificate", to(512)), ("descriptor", to(112)), ("key", B32), ("next", B32), ("view", VIEW)]
OWNER, ADMIN, WRITER, READER, RELAY = 1, 2, 3, 4, 5
ROLES = ["", "owner", "admin", "writer", "reader", "relay"]


def certificate(data):
    c = fields(data, CERTIFICATE, "certificate", 512)
    need(len(c.name.encode()) <= 128, "certificate: name")
    verify(c.identity, c.signature, "weft/1/certificate", [cbor2.dumps(cbor2.loads(data)[:-1])], "certificate")
    check_key(c.device, "certificate")
    return c


def delegation(data):
    d = fields(data, DELEGATION, "delegation", 512)
    need(len(d.name.encode()) <= 128 and d.generation > 0, "delegation: name or generation")
    need(d.rights & WRITE and d.rights <= CREATE | WRITE | ADMIT, "delegation: rights")
    verify(d.identity, d.signature, "weft/1/delegation", [cbor2.dumps(cbor2.loads(data)[:-1])], "delegation")
    check_key(d.device, "delegation")
    return d


def added(say):
    """The certificate or delegation of a device record."""
    need(say.delegated in (0, 1), "device: delegated")
    return (delegation if say.delegated else certificate)(say.certificate)


def genesis(signed):
    data, signature = decode(signed, [to(1024), B64], "genesis", 2048)
    g = fields(data, GENESIS, "genesis", 1024)
    delegated = g.certificate[:1] == b"\x8b"
    g.device = (delegation if delegated else certificate)(g.certificate)
    need(not delegated or g.device.rights & CREATE, "genesis: the first device may not create threads")
    need(g.device.identity == g.owner, "genesis: the certificate is of another identity")
    verify(g.device.device, signature, "weft/1/genesis", [data], "genesis")
    g.thread = h("weft/1/thread", signed)
    return g


def descriptor(data, thread):
    d = fields(data, DESCRIPTOR, "descriptor", 112)
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
