#!/usr/bin/python3
"""Checks testdata/vectors by what docs/ says: signatures, hashes and seals of every file, and
what this reader can decode or compute. Prints how much of each file that was."""
import base64
import hashlib
import json
import os
import struct
import sys
from types import SimpleNamespace

import bson
from bson import json_util
from bson.son import SON
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import formats
from fold import OPTIONS, State, encoded, key_of, placed, read_horizon, read_operations, read_snapshot
from formats import B16, B32, B64, TEXT, UINT, Bytes, Many, chunks, decode, fields, h, label, to, u64
from public import base32, blake3, did, hkdf, hpke_open, mac, need, unixfs, unseal, uvarint
from reader import MANIFEST, key_file
from thread import BRANCH

RAW = Encoding.Raw, PublicFormat.Raw


def b(text):
    return bytes.fromhex(text)


def same(got, want, what):
    need(got == want, f"{what}: {got!r} is not {want!r}")


def plain(value):
    """A decoded value as it stands in a file of vectors."""
    if isinstance(value, bytes):
        return value.hex()
    return [plain(v) for v in value] if isinstance(value, list) else value


def table(fields_of, nested=False):
    """Decodes by a table; fields that have one name in the table and in the file are compared."""
    def check(v, gives):
        got = fields(b(v["bytes"]), fields_of, v["name"])
        want = {**v["values"], **v["values"]["id"]} if nested else v["values"]
        for name, _ in fields_of:
            if name in want and not isinstance(want[name], dict):
                same(plain(getattr(got, name)), want[name], name)
    return check


# ---------------------------------------------------------------- keys


def identity(v, g):
    key = Ed25519PrivateKey.from_private_bytes(b(g["seed"])).public_key().public_bytes(*RAW)
    same((key.hex(), did(key)), (g["public"], g["did"]), "keys of the seed")
    secret = bytearray(hashlib.sha512(b(g["seed"])).digest()[:32])
    public = X25519PrivateKey.from_private_bytes(bytes(secret)).public_key().public_bytes(*RAW)
    same(public.hex(), g["sealingPublic"], "the sealing key")


def device(v, g):
    secret = b(g["secret"])
    same(Ed25519PrivateKey.from_private_bytes(secret[:32]).public_key().public_bytes(*RAW).hex(), g["sign"], "sign")
    same(X25519PrivateKey.from_private_bytes(secret[32:]).public_key().public_bytes(*RAW).hex(), g["seal"], "seal")


def key_text(v, g):
    for prefix, secret, text in ("wk", g["public"], g["key"]), ("ws", g["seed"], g["secret"]):
        prefix += v["name"].split()[-1][0]
        total = h("weft/1/key-text", prefix.encode(), b(secret))[:3]
        same(prefix + base32(b(secret) + total)[1:], text, "text")


GRANT = [("version", 1), ("suite", 1), ("key", B32), ("user", B32), ("audience", B32), ("scopes", Many(TEXT, 1, 16)),
         ("issued", UINT), ("expires", UINT), ("nonce", B16), ("signature", to(64))]
API_KEY = [("version", 1), ("public", B32), ("kind", UINT), ("signing", formats.BOOL), ("owner", B32), ("org", TEXT),
           ("name", TEXT), ("scopes", Many(TEXT, 1, 16)), ("created", UINT), ("expires", UINT), ("revoked", UINT)]


def grant(v, g):
    got = fields(b(v["bytes"]), GRANT, "grant")
    same(got.signature.hex() or "00" * 64, v["values"]["signature"], "signature")
    table(GRANT[:-1] + [("", to(64))])(v, g)


def credential(v, g):
    _, first, second = formats.cbor2.loads(b(v["bytes"]))
    fields(formats.cbor2.dumps(first), GRANT, "grant")
    formats.certificate(formats.cbor2.dumps(second))


def line(v, g):
    same(g["line"].encode(), b(v["bytes"]), "line")
    same(key_file({"f": g["line"]}, "f", "device", 64).hex(), g["secret"], "secret")


# ---------------------------------------------------------------- threads


def signed_genesis(v, g):
    same(base32(formats.genesis(b(v["bytes"])).thread), g["thread"], "thread ID")


def header(v, g):
    r = formats.header(b(v["bytes"]), b(g["thread"]))
    same((r.hash.hex(), r.seq, r.time), (g["hashed"][0]["hash"], v["values"]["seq"], v["values"]["time"]), "header")


def body(v, g):
    root, data = b(g["root"]), b(v["bytes"])
    flags, payload = formats.Body(data, root).open(b(g["key"]), b(g["thread"]), b(g["log"]), g["seq"])
    got = formats.cbor2.dumps([flags, payload])
    same((len(got), hashlib.sha256(got).hexdigest(), flags == 1), (g["plainSize"], g["plainHash"], g["atomic"]), "plain")


def control(v, g):
    number, inner = decode(b(v["bytes"]), [UINT, to(1 << 19)], v["name"])
    name, shape, limit = formats.OPS[number]
    need(v["name"].startswith(name) and len(b(v["bytes"])) <= limit, "its operation or size")
    got = fields(inner, shape, name)
    same(number, v["values"]["op"], "operation")
    if name == "recover":
        got = fields(got.statement, formats.RECOVER, "recover: statement")
    if name == "device":
        got.subject = formats.added(got).device
    for field in "subject", "role", "expires", "uses", "certificate", "signature", "key", "sealed":
        if field in v["values"] and (name, field) != ("recover", "signature"):
            same(plain(getattr(got, field)), v["values"][field], field)


def several(v, g):
    thread, epochs = b(g["thread"]), [b(e) for e in g["epochs"]]
    reads = chunks(b(g["reads"]), 64, "reads")
    same([r[:32] for r in reads], epochs, "epochs")
    same(h("weft/1/epochs", thread, *epochs).hex(), g["name"], "name")
    key = hkdf(b"".join(r[32:] for r in reads), b"", label("weft/1/epochs", thread, *epochs))
    same(key.hex(), g["key"], "key")


def epoch(v, g):
    _, inner = decode(b(v["bytes"]), [9, to(1 << 19)], "rotate")
    (commit, devices, invites, previous), = decode(inner, [formats.EPOCH], "rotate")
    same(h("weft/1/key-commit", b(g["read"])), commit, "commitment")
    same([devices[8:].hex(), invites[32:].hex()], [s["sealed"] for s in g["sealed"]], "seals")
    wrap = hkdf(b(g["read"]), b"", label("weft/1/epoch/previous", b(g["thread"])))
    same(unseal(wrap, bytes(12), previous, commit, "previous").hex(), g["previous"], "previous")


def tag(v, g):
    same(mac(b(g["read"]), label("weft/1/state", b(g["thread"])), b(g["state"])).hex(), g["tag"], "tag")


def blob(v, g):
    r = Bytes(b(v["bytes"]))
    same((hashlib.sha256(r.data).hexdigest(), r.take(2)), (g["id"], b"\1\1"), "ID, version or suite")
    name, salt = r.take(32), r.take(32)
    same(name.hex(), g["epoch"], "epoch")
    info = b(g["thread"]) + name
    got = unseal(hkdf(b(g["read"]), salt, label("weft/1/blob/key", info)), bytes(12), r.rest(), b"", "blob")
    same(got.hex(), v["values"]["plain"], "plain")
    same(mac(hkdf(b(g["read"]), b"", label("weft/1/blob/salt", info)), got), salt, "salt")


def run(v, g):
    r = Bytes(b(v["bytes"]))
    same(r.take(1), b"\1", "suite")
    same(r.take(r.uint(2)).hex(), v["values"]["descriptor"], "descriptor")
    same(r.take(64).hex(), v["values"]["signature"], "signature")
    for record in v["values"]["records"][:r.uint(4)]:
        head, rest = r.uint(2), r.uint(4)
        same({"header": r.take(head).hex(), "body": r.take(rest).hex()}, record, "record")
    r.end()


def invite(v, g):
    text = g["url"].removeprefix("weft:")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    same((raw[:-4].hex(), raw[-4:].hex()), (v["bytes"], g["hashed"][0]["hash"][:8]), "URL")
    got = decode(raw[:-4], [1, 1, B32, B32, B32, Many(to(256), 0, 16)], "invite")
    same([x.hex() for x in got[2:5]], [v["values"][n] for n in ("thread", "seed", "service")], "fields")


def stored(v, g):
    r, want = Bytes(b(v["bytes"])), v["values"]
    want.update(want["record"])
    flag = r.uint(1)
    same(flag == 1, want["signed"], "signed")
    if flag:
        same(r.take(64).hex(), want["signature"], "signature")
    same((r.take(r.uint(2)).hex(), r.rest().hex()), (want["header"], want["body"]), "record")


def plaintext(v, g):
    want = v["values"]
    same(decode(b(v["bytes"]), [UINT, to(1 << 20)], "plaintext"), [int(want["atomic"]), b(want["payload"])], "plaintext")


def thread_keys(v, g):
    service, pairs = decode(b(v["bytes"]), [B32, to(1 << 20)], "keys")
    same((service.hex(), pairs.hex()), (v["values"]["service"], v["values"]["reads"]), "keys")
    same([p[:32].hex() for p in chunks(pairs, 64, "keys")], v["values"]["epochs"], "epochs")


# ---------------------------------------------------------------- rows of the store


def branch(v, g):
    got, want = fields(b(v["bytes"]), BRANCH, "branch"), v["values"]
    for name in "base", "tip", "signed", "done":
        same((getattr(got, name), getattr(got, name + "_hash").hex()), (want[name]["seq"], want[name]["hash"]), name)
    same((got.time, got.records, got.bytes), tuple(want[n] for n in ("time", "records", "bytes")), "branch")


def reference(v, g):
    w = v["values"]
    same((struct.pack(">IQ", w["log"], w["id"]["seq"]) + b(w["id"]["hash"])).hex(), v["bytes"], "reference")


def blob_row(v, g):
    same((struct.pack(">QI", g["number"], g["size"]) + b(g["sealed"])).hex(), v["bytes"], "row")


def blob_reference(v, g):
    w = v["values"]
    same((b(w["id"]) + struct.pack(">IQ", w["size"], g["sum"])).hex(), v["bytes"], "reference")


def lack(v, g):
    same(struct.pack(">IQ", g["size"], g["seconds"]).hex(), v["bytes"], "note")


def fresh(v, g):
    same(b"".join(struct.pack(">QQQ", *r) for r in g["runs"]).hex(), v["bytes"], "runs")


# ---------------------------------------------------------------- the fold


def value_key(v, g):
    document = b(g["bson"])
    value = bson.decode(document, OPTIONS)
    same(encoded(value), document, "BSON")
    same(key_of(value["v"]).hex(), v["bytes"], "key")


def operations(v, g):
    kinds = ["", "insert", "update", "replace", "delete"]
    got = [(kinds[o.kind], o.upsert, o.name, key_of(o.id).hex()) for o in read_operations(b(v["bytes"]))]
    want = v["values"]
    if want and isinstance(want[0], list):  # a definition, and what its author had
        want, view = want
        same([(log.hex(), seq, hash.hex()) for log, seq, hash in read_operations(b(v["bytes"]))[0].view],
             [(h["log"], h["seq"], h["hash"]) for h in view], "view")
    same(got, [(o["kind"], o["upsert"], o["coll"], o["key"]) for o in want], "operations")


def horizon(v, g):
    h = read_horizon(b(v["bytes"]))
    same((h.t, [(log.hex(), seq, hash.hex()) for log, seq, hash in h.view]),
         (v["values"]["t"], [(g["log"], g["seq"], g["hash"]) for g in v["values"]["view"]]), "horizon")


def snapshot(v, g):
    got = [(name, mod, encoded(d).hex()) for name, mod, d in read_snapshot(b(v["bytes"]))]
    same(got, [(o["coll"], o["mod"], o["doc"]) for o in v["values"]], "documents")


def sized(data):
    return uvarint(len(data)) + data


def seed(v, g):
    if "stamp" in g:
        s = g["stamp"]
        data = b"\3" + u64(s["time"]) + b(s["log"]) + b(s["hash"]) + struct.pack(">I", s["index"]) + bytes([g["code"]])
    else:
        data = bytes([1 if "document" in g else 2]) + sized(g["collection"].encode()) + sized(b(g["key"]))
        data += b(g.get("document", ""))
    same(blake3(data).hex(), v["bytes"], "seed")


def state(v, g):
    lanes = [0] * 1024
    for one in g["seeds"] or []:
        for i, lane in enumerate(struct.unpack("<1024H", blake3(b(one), 2048))):
            lanes[i] = lanes[i] + lane & 0xFFFF
    same(blake3(struct.pack("<1024H", *lanes)).hex(), v["bytes"], "hash")


def empty(v, g):
    state(v, g)
    same(State().hash().hex(), v["bytes"], "hash of nothing")


FOLDED = {}  # the records of the vectors of fold.json so far


def folded(v, g):
    """Records in a row: each with all before it, in the order of places. All are one owner's."""
    every = FOLDED.setdefault("records", [])
    every.append(SimpleNamespace(time=g["time"], log=b(g["log"]), seq=g["seq"], hash=b(g["hash"]), flags=int(g["atomic"]),
                                 payload=b(v["bytes"]), by=("owner", ()), may=True))
    every[-1].before = lambda x, r=every[-1]: x.seq > r.seq or x is r
    whole = State()
    for r in placed(every, lambda head, time: False):
        whole.record(r, r.flags, r.payload)
    got = {f"{name} {key.hex()}": encoded(d).hex() for (name, key), d in whole.documents.items()}
    same(got, g["documents"], "documents")
    same(sorted(whole.refused.values()), g["refusals"], "refusals")
    same(whole.hash().hex(), g["state"], "state hash")


def token(v, g):
    data = b"\1" + b(g["feed"]) + b(g["tip"]) + b"".join(uvarint(g[n]) for n in ("at", "ahead", "gaps"))
    same((data.hex(), base64.urlsafe_b64encode(data).rstrip(b"=").decode()), (v["bytes"], g["text"]), "token")


def stamp(v, g):
    s = v["values"]
    same(f"{s['time']:016x}.{s['log']}.{s['hash']}.{s['index']}", g["text"], "stamp")


def void(v, g):
    spans, records, kept = v["values"]["spans"], v["values"]["records"], v["values"]["kept"]
    single = lambda all: b"".join(u64(r["seq"]) + b(r["hash"]) for r in all)
    data = struct.pack(">I", len(spans) | bool(kept) << 31) + b"".join(u64(s["first"]) + u64(s["last"]) for s in spans)
    data += struct.pack(">I", len(kept)) + single(kept) if kept else b""
    same((data + single(records)).hex(), v["bytes"], "void")


# ---------------------------------------------------------------- files, mail, the exchange


def manifest(v, g):
    got = decode(b(v["bytes"]), MANIFEST, "manifest")[2]
    same([{"sum": s.hex(), "size": n, "blob": o.hex()} for s, n, o in got], v["values"], "leaves")


def file(v, g):
    leaves = [(b(s), n) for s, n in zip(g["sums"], g["sizes"])] or [(hashlib.sha256(b"").digest(), 0)]
    same(unixfs(leaves), (g["cid"], g["size"], g["tsize"]), "CID")


def envelope(v, g):
    got = decode(b(v["bytes"]), [1, 1, B32, B16, to(131248)], "envelope")
    same((hashlib.sha256(b(v["bytes"])).hexdigest(), got[4].hex()), (g["digest"], g["sealed"][0]["sealed"]), "envelope")
    r = Bytes(b(g["sealed"][0]["plain"]))
    need(len(r.data) >= 512 and len(r.data) & len(r.data) - 1 == 0, "its padding")
    message, _ = decode(r.take(r.uint(4)), [to(1 << 17), B64], "signed message")
    need(not any(r.rest()), "its padding")
    same(message.hex(), g["message"], "message")
    shape = [1, 1, B32, B16, UINT, to(512), to(65536)]
    _, _, recipient, number, time, certificate, content = decode(message, shape, "message")
    sender = formats.certificate(certificate)
    same((recipient.hex(), number.hex(), time, sender.identity.hex(), content.hex()),
         tuple(g[n] for n in ("recipient", "id", "time", "from", "body")), "message")


def receipt(v, g):
    inner, _ = decode(b(v["bytes"]), [to(768), B64], "receipt")
    got = decode(inner, [1, 1, to(512), B32, UINT, UINT], "receipt")
    want = v["values"]
    same((got[3].hex(), got[4], got[5]), (want["digest"], want["outcome"], want["time"]), "receipt")


def leaves(value):
    """What is in a value, without names and order, as texts."""
    if isinstance(value, dict):
        value = list(value.values())
    return sorted(x for v in value for x in leaves(v)) if isinstance(value, list) else [str(plain(value))]


def framed(v, g):
    r = Bytes(b(v["bytes"]))
    same(r.uint(4), len(r.data) - 4, "length of the frame")
    kind, inner = r.uint(1), r.rest()
    same(kind, (g or {"type": int(v["name"].split()[-1]) if v["name"][:5] == "frame" else kind})["type"], "type")
    value = formats.cbor2.loads(inner)
    same((type(value), formats.cbor2.dumps(value)), (list, inner), "body")
    same(leaves(value), leaves(v["values"]), "values")


def thread_tag(v, g):
    low, high = sorted(p.encode() for p in g["peers"])
    full = mac(b(g["service"]), label("weft/1/thread-tag", b(g["thread"])), bytes([len(low)]), low, high)
    same(full[:16].hex(), v["bytes"], "tag")


def digest(v, g):
    tips = sorted((b(t["log"]), u64(t["seq"]), b(t["hash"])) for t in g["tips"])
    same(h("weft/1/tips", *(part for t in tips for part in t)).hex(), v["bytes"], "digest")


REGISTRATION = [("version", 1), ("account", B32), ("since", UINT), ("count", UINT), ("bytes", UINT), ("seq", UINT)]


def extended(v, g):
    options = json_util.JSONOptions(document_class=SON, tz_aware=True)
    same(encoded(json_util.loads(g["json"], json_options=options)).hex(), v["bytes"], "BSON")


def cbor(v, g):
    value = formats.cbor2.loads(b(v["bytes"]))
    same(formats.cbor2.dumps(value).hex(), v["bytes"], "CBOR")
    same(leaves(value), leaves(v["values"]), "values")


# What nothing here checks, and why: by the beginning of its name.
LEFT = {"key file with a passphrase": "argon2id and XChaCha20 are not in the libraries",
        **dict.fromkeys(("undefined", "symbol", "DBPointer"), "the library for BSON does not keep it")}

# What checks a vector: by its file, and the beginning of its name. The first that fits; "" is all.
CHECKS = {
    "cbor": [("", cbor)],
    "keys": [("identity", identity), ("device", device), ("certificate", lambda v, g: formats.certificate(b(v["bytes"]))),
             ("delegation", lambda v, g: formats.delegation(b(v["bytes"]))), ("grant", grant), ("credential", credential), ("API key", table(API_KEY)),
             ("key text", key_text), ("key file", line)],
    "thread": [("genesis", table(formats.GENESIS)), ("signed genesis", signed_genesis),
               ("descriptor", table(formats.DESCRIPTOR)), ("header", header), ("first header", header), ("body", body),
               ("stored", stored), ("run", run), ("several", several), ("an epoch", epoch), ("state tag", tag), ("blob", blob),
               ("invite's", invite),
               ("plaintext", plaintext), ("keys of", thread_keys), *((name, control) for name, _, _ in formats.OPS.values())],
    "rows": [("branch", branch), ("refusal", table([("log", B32), ("seq", UINT), ("hash", B32), ("code", to(64)), ("why", to(1024))], True)),
             ("secrets", table([("relay", formats.BOOL), ("keys", to(1 << 20)), ("invite", to(1 << 10))])),
             ("reference", reference)],
    "blobs": [("row", blob_row), ("reference", blob_reference), ("note", lack), ("what came", fresh)],
    "memory": [("origin", table([("account", to(32)), ("invite", to(32)), ("proof", to(64))])),
               ("peer", table([("addrs", Many(to(1 << 12)))]))],
    "values": [("", value_key)],
    "payloads": [("snapshot", snapshot), ("horizon", horizon), ("", operations)],
    "fold": [("", folded)],
    "state": [("seed", seed), ("hash of nothing", empty), ("hash", state)],
    "tokens": [("", token)], "stamps": [("", stamp)], "void": [("", void)], "tips": [("", digest)],
    "buckets": [("manifest", manifest), ("file", file), ("update", extended)],
    "inbox": [("envelope", envelope), ("receipt", receipt), ("registration", table(REGISTRATION)), ("frame", framed)],
    "exchange": [("tag", thread_tag), ("", framed)],
}


def general(g):
    """Signatures, hashes and seals, which have one form in all files; how many there were."""
    g = g if isinstance(g, dict) else {}
    proofs = [g.get(name) if isinstance(g.get(name), list) else [] for name in ("signed", "hashed", "sealed")]
    for s in proofs[0]:
        formats.verify(b(s["key"]), b(s["signature"]), s["domain"], [b(s["message"])], s["domain"])
    for s in proofs[1]:
        same(h(s["domain"], b(s["message"])).hex(), s["hash"], s["domain"])
    for s in proofs[2]:
        secret = b(s["secret"])
        got = hpke_open(X25519PrivateKey.from_private_bytes(secret), b(s["sealed"]), b(s["info"]), b(s["aad"]), "seal")
        same(got.hex(), s["plain"], "plaintext of a seal")
    return sum(map(len, proofs))


def main(folder):
    bad = 0
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".json"):
            continue
        every = json.load(open(os.path.join(folder, name)))["vectors"]
        checked, left, proofs = 0, [], 0
        for v in every:
            g = v.get("gives")
            check = next((c for begin, c in CHECKS.get(name[:-5], []) if v["name"].startswith(begin)), None)
            why = next((why for begin, why in LEFT.items() if v["name"].startswith(begin)), None)
            try:
                some = general(g)
                proofs += some
                if why:
                    left.append(f"{v['name']} ({why})")
                    continue
                need(check or some, "nothing checks it: it needs a line in CHECKS")
                if check:
                    check(v, g)
                checked += 1
            except Exception as e:  # whatever a decoder makes of bytes that are wrong
                bad += 1
                print(f"DIFFERS {name}: {v['name']}: {e!r}")
        print(f"{name}: {checked} of {len(every)} vectors checked, {proofs} signatures, hashes and seals"
              + (f"; not: {', '.join(left)}" if left else ""))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
