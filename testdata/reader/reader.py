#!/usr/bin/python3
"""A second reader of Weft, written from docs/ alone, without a look at the Go code: see README.md.

Given a backup it verifies every thread in it, opens the records with the keys of the home, folds
them, and compares documents, state hash and files with what is expected."""
import argparse
import base64
import hashlib
import json
import os
import sys
from types import SimpleNamespace

import zstandard
from bson import json_util
from bson.son import SON
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fold import DEFINITIONS, encoded, fold, key_of
from formats import B32, CONTROL, ROLES, UINT, Bytes, Many, ascending, certificate, decode
from public import Bad, Unknown, base32, did, need, open_age, peer, unixfs, uvarint
from thread import Authority, Thread

# ---------------------------------------------------------------- the backup: docs/design/transfer.md


VERSIONS = (b"5",)


def read_backup(data, passphrase):
    """The files and the store of a backup; digest, counts and hashes compared."""
    if data.startswith(b"age-encryption.org"):
        data = open_age(data, passphrase())
    line, _, packed = data.partition(b"\n")
    words = line.split(b" ")
    need(words[:2] == [b"weft", b"backup"] and len(words) == 4 and words[3] in (b"pebble", b"badger"), "not a backup")
    if words[2] not in VERSIONS:
        raise Unknown(f"a backup of version {words[2].decode()}")
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
        ends = "".join(f", ended by {r.op} {short(r.hash)}" for r in [c.record for c in authority.limits(e)] + e.ends)
        print(f"  {ROLES[e.role]} {did(e.identity)} device {peer(e.first.of.device)}{ends}")
    several = sum(len(r.epochs) > 1 for r in counting)
    print(f"  epochs with a key here: {', '.join(short(e) for e in thread.keys)}"
          + (f"; {several} records under two epochs at once or more" if several else ""))
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
                want[DEFINITIONS, key_of(line["collection"])] = encoded(line["definition"])
            elif "document" in line:
                want[line["collection"], key_of(line["document"]["_id"])] = encoded(line["document"])
        got = {where: encoded(doc) for where, doc in state.documents.items()}
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
        members = [(ROLES[e.role], did(e.identity), peer(e.first.of.device)) for e in authority.members]
        want = [(m["role"], m["identity"], m["peer"]) for m in load(arguments.members)["members"]]
        report.same("members", sorted(members), sorted(want))


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
        forked = sum(len({r.seq for r in d.records.values()}) < len(d.records) for d in thread.logs.values())
        if forked:
            print(f"  {forked} log of {len(thread.logs)} is forked")
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
    except (zstandard.ZstdError, LookupError, ValueError) as e:
        sys.exit(f"Bad: {e!r}")
