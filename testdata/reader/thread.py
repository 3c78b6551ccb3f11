"""A thread: its logs as the rows of a store have them, and who may do what in it."""
import hashlib
from types import SimpleNamespace

from formats import (ADMIN, BOOL, CONTROL, B32, OPS, OWNER, READER, RELAY, UINT, WRITER, Body, Bytes, ascending,
                     certificate, chunks, decode, descriptor, fields, genesis, h, header, label, to, verify)
from public import Unknown, hkdf, hpke_open, mac, need, unseal

# ---------------------------------------------------------------- the logs: docs/design/net.md


# A row of a branch: positions, the time of the tip, how far it is signed and done, how much of it is held.
BRANCH = [("base", UINT), ("base_hash", B32), ("tip", UINT), ("tip_hash", B32), ("time", UINT), ("signed", UINT),
          ("signed_hash", B32), ("done", UINT), ("done_hash", B32), ("records", UINT), ("bytes", UINT)]


class Thread:
    """The logs of a thread as the rows of a store have them; all is verified, nothing is taken on trust."""

    def __init__(self, rows, device):
        need(b"g" in rows and b"k" in rows, "a thread without genesis or keys")
        self.genesis = genesis(rows[b"g"])
        self.id = self.genesis.thread
        self.load_keys(rows[b"k"], device)
        numbers = {k.uint(4): descriptor(v, self.id) for k, v in self.rows(rows, b"l")}
        self.logs = {d.id: d for d in numbers.values()}
        for d in self.logs.values():
            d.records = {}
        need({k.uint(4) for kind in (b"r", b"h") for k, _ in self.rows(rows, kind)} == {*numbers}, "a log is missing")
        for k, v in self.rows(rows, b"r"):
            self.add(numbers[k.uint(4)], k, Bytes(v))
        held = set().union(*(self.check_branch(numbers[k.uint(4)], v) for k, v in self.rows(rows, b"h")))
        need(held == {r for d in self.logs.values() for r in d.records}, "a record that no branch has")
        self.blobs = {k.rest(): Bytes(v) for k, v in self.rows(rows, b"b")}
        for id, v in self.blobs.items():
            number, v.size = v.take(8), v.uint(4)
            at = Bytes(rows.get(b"B" + number, b""))
            need(at.take(32) == id and at.uint(4) == v.size, "blob: its number is another's")
        self.control = {}
        control = [r for d in self.logs.values() if d.kind == CONTROL for r in d.records.values()]
        for r in sorted(control, key=lambda r: r.time):
            self.read_control(r)
        announced = {r.announces for r in self.control.values() if r.op in ("join", "log")}
        need({d.id for d in self.logs.values() if d.kind != CONTROL} <= announced, "a log that nothing announces")

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
        b, what = fields(row, BRANCH, "branch"), f"log {d.id.hex()[:8]}"
        base, tip = (b.base, b.base_hash), (b.tip, b.tip_hash)
        at, later, covered, seen = tip, 1 << 64, False, []
        while at != base:
            need(at[1] in d.records, f"{what}: record {at[0]} is missing")
            r = d.records[at[1]]
            need(r.seq == at[0] and r.time < later, f"{what}: position or clock of {r.seq}")
            covered = covered or bool(r.signature)
            need(covered or r.seq > b.signed, f"{what}: record {r.seq} is not signed")
            at, later = (r.seq - 1, r.prev or bytes(32)), r.time
            seen.append(r)
        need((b.records, b.bytes) == (len(seen), sum(r.size for r in seen)), f"{what}: counts")
        places = {base, *((r.seq, r.hash) for r in seen)}
        need({(b.signed, b.signed_hash), (b.done, b.done_hash)} <= places, f"{what}: marks")
        need(not seen or seen[0].time == b.time, f"{what}: time")
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
        need(all(p in self.control and self.control[p].time < r.time for p in parents), f"{what}: a parent is not held, or not earlier")
        need((r.op in ("open", "join")) == (r.seq == 1) and (r.op == "open") == (not parents), f"{what}: a {r.op} here")
        r.seen = {r.hash}.union(*(self.control[p].seen for p in parents))
        self.control[r.hash] = r
        if r.op == "open":
            need(r.of.device == self.genesis.device.device, f"{what}: another device than the genesis'")
            r.identity = self.genesis.owner
        elif r.op == "join":
            need(r.say.invite in r.control and self.control[r.say.invite].op == "invite", f"{what}: its invite")
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
        tags = [d[:8] for d in chunks(devices, 88, "epoch: devices")]
        need(tags == sorted(tags), "epoch: devices")
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
        need(id in self.blobs, f"blob {id.hex()[:8]}: not held")
        size = self.blobs[id].size
        sealed = (self.blobs[id].data[12:] if size <= 65536 else
                  files.get(f"blobs/{self.id[:8].hex()}/{id[:1].hex()}/{id.hex()}", b""))
        need(len(sealed) == size and hashlib.sha256(sealed).digest() == id, f"blob {id.hex()[:8]}: size or name")
        r = Bytes(sealed)
        need(r.take(2) == b"\1\1", "blob: version or suite")
        epoch, salt = r.take(32), r.take(32)
        lists = [[e] for e in self.keys] + [r.epochs for d in self.logs.values() for r in d.records.values()]
        key = dict(self.key(e) for e in lists).get(epoch)
        need(key, "blob: its epoch")
        plain = unseal(hkdf(key, salt, label("weft/1/blob/key", self.id, epoch)), bytes(12), r.rest(), b"", "blob")
        need(mac(hkdf(key, b"", label("weft/1/blob/salt", self.id, epoch)), plain) == salt, "blob: salt")
        return plain


# ---------------------------------------------------------------- the control fold: docs/design/authority.md

NOBODY = bytes(32)  # the successor of who leaves


class Authority:
    """The control fold: entries from an agenda, the most senior first, in one pass.

    A control log may have branches, but not from its first record on."""

    def __init__(self, thread):
        self.control, self.entries, self.acting, self.cuts = thread.control, [], {}, []
        self.top = None  # the most senior entry that nothing limits
        first = [r for r in self.control.values() if r.op == "open"]
        need(len(first) == 1, "not one open")
        agenda = [self.entry(first[0], first[0], OWNER, (), first[0].identity)]
        while agenda:
            e = min(agenda, key=lambda e: (e.role, e.path))
            agenda.remove(e)
            self.entries.append(e)
            if self.top is None and not self.limits(e) and not e.ends:
                self.top = e
            for r in sorted(e.first.of.records.values(), key=lambda r: r.seq):
                if r.hash not in self.acting and self.covers(e, r) and self.allows(e, r):
                    self.acting[r.hash] = e
                    agenda += self.act(e, r)
        alive = {e.first.of.device: e for e in reversed(self.entries) if not self.limits(e) and not e.ends}
        self.members = [e for e in self.entries if alive.get(e.first.of.device) is e]

    def entry(self, first, grant, role, path, identity, by=None):
        ends = [r for r in self.control.values() if r.op == "transfer" and r.log == first.log and first.hash in r.seen
                and (r.say.subject == NOBODY or role == OWNER)]
        return SimpleNamespace(first=first, grant=grant, role=role, path=path, identity=identity, by=by, ends=ends)

    def limits(self, e):
        """The cuts that apply to an entry."""
        return [c for c in self.cuts if c.subject in (e.identity, e.first.of.device)
                and (c.by.role <= ADMIN and not c.own or c.by.identity == e.identity)
                and (c.by.role, c.by.path) < (e.role, e.path) and not self.lifted(e, c)]

    def lifted(self, e, c):
        """Granted again, by who had seen the cut and could."""
        if e.by is None or e.grant is c.record:
            return e.grant is c.record
        named = e.grant.op != "invite" and e.grant.say.subject == c.subject and e.by.role <= c.by.role
        return (named and c.record.hash in e.grant.seen
                or e.by.identity == e.identity and self.lifted(e.by, c))

    def covers(self, e, r):
        return (e.first.hash in r.seen and all(r.hash in c.record.seen for c in self.limits(e))
                and all(r.hash in t.seen for t in e.ends)
                and (e.grant.op not in ("role", "transfer") or e.grant.hash in r.seen))

    def allows(self, e, r):
        if r.op in ("invite", "role"):
            highest = WRITER if r.op == "invite" or e.role == ADMIN else OWNER
            return e.role <= ADMIN and highest <= r.say.role <= (READER if r.op == "invite" else RELAY)
        if r.op == "vouch":
            need(any(c.op == "checkpoint" and c.hash == r.say.checkpoint for c in self.control.values() if c.hash in r.seen),
                 "vouch: for what is no checkpoint")
        if r.op in ("close", "admit", "rotate", "vouch"):
            return e.role <= ADMIN
        if r.op == "remove":
            return e.role <= ADMIN or any(f.seq == 1 and f.identity == e.identity and f.of.device == r.say.subject
                                          for f in self.control.values() if f.op in ("open", "join"))
        if r.op == "transfer":
            return e.role == OWNER or r.say.subject == NOBODY
        if r.op == "checkpoint":
            before = [c for c in self.control.values() if c.op == "checkpoint" and c.hash in r.seen and c is not r]
            log = r.say.snapshot[0]
            ascending([tuple(p) for p in r.say.heads], "checkpoint: heads")
            need(any(getattr(s, "announces", None) == log and s.log == r.log for s in self.control.values()
                     if s.hash in r.seen), "checkpoint: its snapshot log")
            for c in before:
                need(c.say.snapshot[0] != log, "checkpoint: the snapshot of an earlier one")
                for name in {p[0] for p in r.say.heads} & {p[0] for p in c.say.heads}:
                    lowest = min(p[1] for p in c.say.heads if p[0] == name)
                    new = [p for p in r.say.heads if p[0] == name and p not in c.say.heads]
                    need(new and all(p[1] > lowest for p in new), "checkpoint: below an earlier one")
            return e.role == OWNER and (self.top is None or self.top.identity == e.identity)
        return True  # open, join, log

    def act(self, e, r):
        """What a record does; the entries that it grants."""
        path = e.path + (r.seq, r.hash)
        acting = [c for c in self.control.values() if c.hash in self.acting]
        if r.op in ("role", "remove", "transfer"):
            own = r.op == "transfer" or r.op == "remove" and e.role > ADMIN  # it reaches the own identity alone
            self.cuts.append(SimpleNamespace(record=r, by=e, own=own, subject=e.identity if r.op == "transfer" else r.say.subject))
        if r.op in ("role", "transfer"):
            role = OWNER if r.op == "transfer" else r.say.role
            logs = [(i, self.control[f]) for i, f in enumerate(r.say.logs, 1) if f in r.seen]
            return [self.entry(f, r, role, path + (i,), r.say.subject, e) for i, f in logs
                    if f.seq == 1 and f.identity == r.say.subject]
        if r.op == "invite":
            listed = {j for c in acting for j in getattr(c.say, "joins", [])}
            closed = any(c.op == "close" and c.say.invite == r.hash
                         or c.op == "remove" and c.hash not in r.seen and self.acting[c.hash].role <= ADMIN for c in acting)
            return [self.entry(j, r, r.say.role, path + (0,), j.identity, e) for j in self.control.values()
                    if j.op == "join" and j.say.invite == r.hash and (not closed or j.hash in listed)]
        return []

    def counts(self, x):
        """The entry of a role that writes under which a data record counts, or None."""
        need(x.control and all(c in self.control for c in x.control), "data record: control heads")
        seen = set().union(*(self.control[c].seen for c in x.control))
        announced = any(getattr(self.control[s], "announces", None) == x.log and s in self.acting for s in seen)
        for e in self.entries if announced else []:
            if (e.role <= WRITER and e.first.log == x.of.control and e.first.hash in seen
                    and all(self.has_seen(c.record, x) for c in self.limits(e))
                    and not any(t.hash in seen or e.role == OWNER and not self.has_seen(t, x) for t in e.ends)
                    and not (e.grant.op in ("role", "transfer") and self.has_seen(e.grant, x))):
                return e
        return None

    def has_seen(self, c, x):
        """Whether a control record has seen a data record: a view reaches it, its own, or that of one that it has seen,
        which says nothing of the logs of its own identity."""
        for s in map(self.control.get, c.seen):
            if s is not c and self.identity(s) == self.control_identity(x):
                continue
            for head in (p[2] for p in getattr(s.say, "view", []) if p[0] == x.log):
                r = x.of.records.get(head)
                while r and r.seq > x.seq:
                    r = x.of.records.get(r.prev)
                if r is x:
                    return True
        return False

    def identity(self, r):
        """Whose a control log is."""
        return next(f.identity for f in r.of.records.values() if f.seq == 1)

    def control_identity(self, x):
        return next(f.identity for f in self.control.values() if f.log == x.of.control and f.seq == 1)
