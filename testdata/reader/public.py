"""What reader.py needs of public specifications, and the packaged libraries do not have.

HPKE (RFC 9180), the strict check of Ed25519 keys, BLAKE3, age, base58 and base32 texts, UnixFS."""
import base64
import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Bad(Exception):
    """The input is not what the documents say."""


class Unknown(Exception):
    """The input is beyond what this reader or the documents know."""


def need(condition, what):
    if not condition:
        raise Bad(what)


def uvarint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


# ---------------------------------------------------------------- sealing


def mac(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def expand(prk, info, n):
    out = block = b""
    while len(out) < n:
        block = mac(prk, block, info, bytes([len(out) // 32 + 1]))
        out += block
    return out[:n]


def hkdf(key, salt, info, n=32):
    return expand(mac(salt or bytes(32), key), info, n)


def unseal(key, nonce, sealed, aad, what):
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, aad or None)
    except InvalidTag:
        raise Bad(f"{what}: does not open")


def hpke_open(private, sealed, info, aad, what):
    """RFC 9180: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305; one message."""
    need(len(sealed) >= 48, f"{what}: too short")
    kem, suite, enc = b"KEM\0\x20", b"HPKE\0\x20\0\x01\0\x03", sealed[:32]

    def extract(s, salt, name, ikm):
        return mac(salt or bytes(32), b"HPKE-v1", s, name, ikm)

    def derive(s, prk, name, text, n):
        return expand(prk, struct.pack(">H", n) + b"HPKE-v1" + s + name + text, n)

    own = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    shared = extract(kem, b"", b"eae_prk", private.exchange(X25519PublicKey.from_public_bytes(enc)))
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, derive(kem, shared, b"shared_secret", enc + own, 32), b"secret", b"")
    key = derive(suite, secret, b"key", context, 32)
    return unseal(key, derive(suite, secret, b"base_nonce", context, 12), sealed[32:], aad, what)


def open_age(data, passphrase):
    """A file of age-encryption.org/v1 with one scrypt recipient."""
    head, _, rest = data.partition(b"\n---")
    lines = head.split(b"\n")
    need(lines[0] == b"age-encryption.org/v1" and len(lines) == 3, "age: not sealed with a passphrase")

    def text(part):
        return base64.b64decode(part + b"=" * (-len(part) % 4), validate=True)

    arrow, kind, salt, work = lines[1].split(b" ")
    need((arrow, kind) == (b"->", b"scrypt") and int(work) <= 20, "age: recipient")
    wrap = hashlib.scrypt(passphrase.encode(), salt=b"age-encryption.org/v1/scrypt" + text(salt),
                          n=1 << int(work), r=8, p=1, maxmem=(1 << 31) - 1, dklen=32)
    key = unseal(wrap, bytes(12), text(lines[2]), b"", "passphrase")
    line, _, body = rest.partition(b"\n")
    need(mac(hkdf(key, b"", b"header"), head, b"\n---") == text(line.strip()), "age: header")
    key, body = hkdf(key, body[:16], b"payload"), body[16:]
    parts = [body[i:i + 65552] for i in range(0, len(body), 65552)]
    return b"".join(unseal(key, i.to_bytes(11, "big") + bytes([i == len(parts) - 1]), part, b"", "age")
                    for i, part in enumerate(parts))


# ---------------------------------------------------------------- Ed25519: keys of the group of prime order

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    (x, y, z, t), (u, v, w, s) = a, b
    e, f, c, d = (y - x) * (v - u) % P, (y + x) * (v + u) % P, 2 * t * s * D % P, 2 * z * w % P
    return (f - e) * (d - c) % P, (d + c) * (f + e) % P, (d - c) * (d + c) % P, (f - e) * (f + e) % P


def check_key(key, what, known={}):
    """The canonical encoding of a point of the group of prime order, and not its identity."""
    if key in known:
        return
    number = int.from_bytes(key, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    need(y < P and y != 1, f"{what}: key is not canonical, or the identity")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    need((x * x - square) % P == 0 and (x or not sign), f"{what}: key is no point")
    if x & 1 != sign:
        x = P - x
    point, total, n = (x, y, 1, x * y % P), (0, 1, 1, 0), ORDER
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    need(total[0] == 0 and total[1] == total[2], f"{what}: key has a part of small order")
    known[key] = True


# ---------------------------------------------------------------- BLAKE3

IV = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
ORDER_OF_WORDS = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def compress(cv, block, counter, size, flags):
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))
    s = cv + IV[:4] + [counter & 0xFFFFFFFF, counter >> 32, size, flags]
    for _ in range(7):
        for i in range(8):
            if i < 4:
                a, b, c, d = i, i + 4, i + 8, i + 12
            else:
                a, b, c, d = i - 4, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12
            for word, r, q in ((m[2 * i], 16, 12), (m[2 * i + 1], 8, 7)):
                s[a] = s[a] + s[b] + word & 0xFFFFFFFF
                t = s[d] ^ s[a]
                s[d] = (t >> r | t << 32 - r) & 0xFFFFFFFF
                s[c] = s[c] + s[d] & 0xFFFFFFFF
                t = s[b] ^ s[c]
                s[b] = (t >> q | t << 32 - q) & 0xFFFFFFFF
        m = [m[i] for i in ORDER_OF_WORDS]
    return [s[i] ^ s[i + 8] for i in range(8)] + [s[i + 8] ^ cv[i] for i in range(8)]


def tree(data, counter):
    """What the last compression of a chunk or of a parent takes, without the flag of the root."""
    if len(data) > 1024:
        left = 1024
        while left * 2 < len(data):
            left *= 2
        halves = compress(*tree(data[:left], counter))[:8] + compress(*tree(data[left:], counter + left // 1024))[:8]
        return IV, struct.pack("<16I", *halves), 0, 64, PARENT
    cv, blocks = IV, [data[i:i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks[:-1]):
        cv = compress(cv, block, counter, 64, 0 if i else CHUNK_START)[:8]
    return cv, blocks[-1], counter, len(blocks[-1]), CHUNK_END | (0 if blocks[1:] else CHUNK_START)


def blake3(data, n=32):
    cv, block, _, size, flags = tree(data, 0)
    return b"".join(struct.pack("<16I", *compress(cv, block, i, size, flags | ROOT)) for i in range((n + 63) // 64))[:n]


# ---------------------------------------------------------------- texts of keys


def base58(data):
    n, out = int.from_bytes(data, "big"), ""
    while n:
        n, r = divmod(n, 58)
        out = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[r] + out
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + out


def base32(data):
    return "b" + base64.b32encode(data).decode().lower().rstrip("=")


def did(key):
    return "did:key:z" + base58(b"\xed\x01" + key)


def peer(key):
    return base58(b"\x00\x24\x08\x01\x12\x20" + key)


# ---------------------------------------------------------------- UnixFS of files: balanced, at most 174 links


def field(number, value):
    if isinstance(value, int):
        return uvarint(number << 3) + uvarint(value)
    return uvarint(number << 3 | 2) + uvarint(len(value)) + value


def unixfs(sums):
    """CID, size and Tsize of a file from (SHA-256, size) of its leaves."""
    level = [(b"\x01\x55\x12\x20" + s, n, n) for s, n in sums]
    while len(level) > 1:
        groups, level = [level[i:i + 174] for i in range(0, len(level), 174)], []
        for group in groups:
            size = sum(n for _, n, _ in group)
            data = field(1, 2) + field(3, size) + b"".join(field(4, n) for _, n, _ in group)
            links = [field(1, cid) + field(2, b"") + field(3, total) for cid, _, total in group]
            node = b"".join(field(2, link) for link in links) + field(1, data)
            cid = b"\x01\x70\x12\x20" + hashlib.sha256(node).digest()
            level.append((cid, size, len(node) + sum(total for _, _, total in group)))
    return base32(level[0][0]), level[0][1], level[0][2]
