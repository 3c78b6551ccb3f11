package format

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

const (
	saltSize   = 24
	commitSize = 32
	maxPieces  = MaxPlain / MaxPiece
	maxSealed  = 1 + 3 + MaxPiece + chacha20poly1305.Overhead
	maxBody    = saltSize + commitSize + 1 + maxPieces*(4+maxSealed)

	methodStored = 0
	methodZstd   = 1

	minCompress = 128 // bytes; shorter pieces do not get smaller

	flagAtomic = 1
)

// A Sealer compresses, seals and opens. It is safe for concurrent use.
type Sealer struct {
	enc   *zstd.Encoder
	dec   *zstd.Decoder
	piece sync.Pool // of arrays for one opened piece
	plain sync.Pool // of *bytes.Buffer, for one plaintext
}

// NewSealer returns a Sealer; the caller owes Close.
func NewSealer() (*Sealer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(MaxPiece), zstd.WithSingleSegment(true), zstd.WithEncoderConcurrency(2), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(MaxPiece),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Sealer{
		enc: enc, dec: dec,
		piece: sync.Pool{New: func() any { return new([MaxPiece + 64]byte) }},
		plain: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}, nil
}

// Close frees what the decoder holds.
func (c *Sealer) Close() { c.dec.Close() }

// A Position is where a body belongs: it is sealed for it and opens nowhere else.
type Position struct {
	Thread ThreadID
	Log    clock.LogID
	Seq    uint64
}

// bodyKey derives the key of a body and the commitment to it.
func bodyKey(secret SecretKey, salt []byte, at Position) (cipher.AEAD, []byte, error) {
	var info [len(domainSeal) + 1 + 32 + 32 + 8]byte
	b := append(append(info[:0], domainSeal...), 0)
	b = append(append(b, at.Thread[:]...), at.Log[:]...)
	b = binary.BigEndian.AppendUint64(b, at.Seq)
	okm, err := hkdf.Key(sha256.New, secret[:], salt, string(b), 64)
	if err != nil {
		return nil, nil, fmt.Errorf("hkdf: %w", err)
	}
	aead, err := chacha20poly1305.New(okm[:32])
	if err != nil {
		return nil, nil, fmt.Errorf("chacha20poly1305: %w", err)
	}
	return aead, okm[32:], nil
}

// newSalt returns the salt of a body. It is random, and made of the plaintext too: two
// machines of which one is a copy of the other, down to the state of their random numbers,
// never seal different plaintexts with one key.
func newSalt(secret SecretKey, at Position, plain []byte) []byte {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: crypto/rand aborts the process instead
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(append([]byte(domainSalt), 0))
	mac.Write(random[:])
	mac.Write(at.Thread[:])
	mac.Write(at.Log[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, at.Seq))
	mac.Write(plain)
	return mac.Sum(nil)[:saltSize]
}

// pieceNonce numbers the pieces and marks the last, so that none is moved, left out or
// added. The key is used for one body only: see [newSalt].
func pieceNonce(i, count int) []byte {
	var n [chacha20poly1305.NonceSize]byte
	binary.BigEndian.PutUint32(n[:], uint32(i))
	if i == count-1 {
		n[11] = 1
	}
	return n[:]
}

// Seal returns the body of a plaintext and its root.
func (c *Sealer) Seal(secret SecretKey, at Position, p *Plaintext) ([]byte, clock.Hash, error) {
	buf := c.plain.Get().(*bytes.Buffer)
	defer c.plain.Put(buf)
	buf.Reset()
	codec.EncodeTo(buf, p.wire())
	plain := buf.Bytes()
	if len(plain) > MaxPlain {
		return nil, clock.Hash{}, fault.Of(ErrTooLarge, "plaintext of %d bytes, at most %d", len(plain), MaxPlain)
	}
	count := (len(plain) + MaxPiece - 1) / MaxPiece
	body := make([]byte, 0, saltSize+commitSize+1+len(plain)+count*24)
	body = append(body, newSalt(secret, at, plain)...)
	aead, commit, err := bodyKey(secret, body[:saltSize], at)
	if err != nil {
		return nil, clock.Hash{}, err
	}
	body = binary.AppendUvarint(append(body, commit...), uint64(count))
	for i := range count {
		// Compressed where it will lie and sealed in place: the body is written once.
		piece := plain[i*MaxPiece : min((i+1)*MaxPiece, len(plain))]
		at := len(body)
		body = c.appendPiece(append(body, 0, 0, 0, 0), piece)
		sealed := aead.Seal(body[at+4:at+4], pieceNonce(i, count), body[at+4:], nil)
		if len(body)+chacha20poly1305.Overhead <= cap(body) {
			body = body[:at+4+len(sealed)]
		} else {
			body = append(body[:at+4], sealed...)
		}
		binary.BigEndian.PutUint32(body[at:], uint32(len(sealed)))
	}
	v, err := ParseBody(body)
	if err != nil {
		return nil, clock.Hash{}, err
	}
	return body, v.Root(), nil
}

// appendPiece appends method, plain length and the bytes of a piece.
func (c *Sealer) appendPiece(b, piece []byte) []byte {
	start := len(b)
	b = binary.AppendUvarint(append(b, methodZstd), uint64(len(piece)))
	data := len(b)
	if len(piece) >= minCompress {
		if b = c.enc.EncodeAll(piece, b); len(b)-data < len(piece) {
			return b
		}
	}
	b[start] = methodStored
	return append(b[:data], piece...)
}

// A Body is a body taken apart; it aliases the bytes it came from.
type Body struct {
	salt, commit []byte
	pieces       [][]byte
}

// ParseBody takes a body apart and checks its sizes.
func ParseBody(p []byte) (*Body, error) {
	bad := func(what string) (*Body, error) { return nil, fault.Of(ErrMalformed, "body: %s", what) }
	if len(p) > maxBody {
		return nil, fault.Of(ErrTooLarge, "body of %d bytes", len(p))
	}
	if len(p) < saltSize+commitSize+1 {
		return bad("truncated")
	}
	b := &Body{salt: p[:saltSize], commit: p[saltSize : saltSize+commitSize]}
	p = p[saltSize+commitSize:]
	count := int(p[0]) // at most 16: one byte as a uvarint
	if p = p[1:]; count < 1 || count > maxPieces {
		return bad("number of pieces")
	}
	b.pieces = make([][]byte, count) // bounded by maxPieces, not by what was sent
	for i := range b.pieces {
		if len(p) < 4 {
			return bad("truncated")
		}
		n := binary.BigEndian.Uint32(p)
		if p = p[4:]; n < 2+chacha20poly1305.Overhead || n > maxSealed || uint64(n) > uint64(len(p)) {
			return bad("size of a piece")
		}
		b.pieces[i], p = p[:n:n], p[n:]
	}
	if len(p) != 0 {
		return bad("bytes too many")
	}
	return b, nil
}

// Root commits to the pieces one by one, so that one can be erased and the rest
// still be checked.
func (b *Body) Root() clock.Hash {
	var buf [1 + maxPieces*sha256.Size]byte
	sums := append(buf[:0], byte(len(b.pieces)))
	for _, p := range b.pieces {
		sum := sha256.Sum256(p)
		sums = append(sums, sum[:]...)
	}
	return digest(domainBody, b.salt, b.commit, sums)
}

// Open returns the plaintext of a body. The key commitment is checked in constant
// time, before anything is decrypted; no piece expands above MaxPiece.
func (c *Sealer) Open(secret SecretKey, at Position, b *Body) (*Plaintext, error) {
	aead, commit, err := bodyKey(secret, b.salt, at)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(commit, b.commit) != 1 {
		return nil, ErrWrongKey
	}
	opened, whole := c.piece.Get().(*[MaxPiece + 64]byte), c.plain.Get().(*bytes.Buffer)
	defer func() { c.piece.Put(opened); c.plain.Put(whole) }()
	whole.Reset()
	plain := whole.AvailableBuffer()
	for i, sealed := range b.pieces {
		piece, err := aead.Open(opened[:0], pieceNonce(i, len(b.pieces)), sealed, nil)
		if err != nil {
			return nil, fault.Of(ErrSealed, "piece %d is altered", i)
		}
		if plain, err = c.expand(plain, piece, len(b.pieces)-i); err != nil {
			return nil, fmt.Errorf("piece %d: %w", i, err)
		}
	}
	if cap(plain) > whole.Cap() {
		whole = bytes.NewBuffer(plain) // keeps the larger room
	}
	return decodePlaintext(plain)
}

// expand appends what an opened piece holds to plain, which it makes room in for
// the pieces that are left.
func (c *Sealer) expand(plain, piece []byte, left int) ([]byte, error) {
	method := piece[0]
	n, k := binary.Uvarint(piece[1:])
	if k <= 0 || n == 0 || n > MaxPiece || k != uvarintLen(n) {
		return nil, fault.Of(ErrMalformed, "the plain length of a piece cannot be")
	}
	data := piece[1+k:]
	if cap(plain)-len(plain) < int(n) {
		plain = append(make([]byte, 0, len(plain)+int(n)*left), plain...)
	}
	switch method {
	case methodStored:
		if uint64(len(data)) != n {
			return nil, fault.Of(ErrMalformed, "a stored piece has another length than it says")
		}
		return append(plain, data...), nil
	case methodZstd:
		if err := oneFrame(data, n); err != nil {
			return nil, err
		}
		end := len(plain) + int(n)
		out, err := c.dec.DecodeAll(data, plain[len(plain):len(plain):end])
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) || len(out) > int(n):
			return nil, ErrBomb
		case err != nil:
			return nil, fault.Of(ErrMalformed, "compressed piece: %w", err)
		case len(out) != int(n):
			return nil, fault.Of(ErrMalformed, "a piece holds %d bytes, not %d", len(out), n)
		}
		return plain[:end], nil
	}
	return nil, fault.Of(ErrVersion, "compression method %d is unknown to this release", method)
}

// oneFrame checks that data is one zstd frame and nothing else, of one segment, of n bytes,
// with neither checksum nor dictionary: what every decoder reads alike (RFC 8878, 3.1.1).
func oneFrame(data []byte, n uint64) error {
	var h zstd.Header
	if err := h.Decode(data); err != nil {
		return fault.Of(ErrMalformed, "compressed piece: %w", err)
	}
	if h.FrameContentSize > n {
		return fault.Of(ErrBomb, "a compressed piece says %d bytes, and its frame %d", n, h.FrameContentSize)
	}
	if h.Skippable || !h.SingleSegment || !h.HasFCS || h.HasCheckSum || h.DictionaryID != 0 {
		return fault.Of(ErrMalformed, "a compressed piece is not a frame of one segment without checksum and dictionary")
	}
	if h.FrameContentSize != n {
		return fault.Of(ErrMalformed, "a compressed piece says %d bytes, and its frame %d", n, h.FrameContentSize)
	}
	const header, rle = 3, 1 // bytes of a block's header; the type whose size is not that of its data
	for rest := data[h.HeaderSize:]; len(rest) >= header; {
		b := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16
		size := int(b >> 3)
		if b>>1&3 == rle {
			size = 1
		}
		if rest = rest[header:]; size > len(rest) {
			break
		}
		if rest = rest[size:]; b&1 == 1 { // the last
			if len(rest) > 0 {
				return fault.Of(ErrMalformed, "%d bytes follow the frame of a compressed piece", len(rest))
			}
			return nil
		}
	}
	return fault.Of(ErrMalformed, "a compressed piece is cut short")
}

// uvarintLen returns how many bytes the shortest form takes: a longer one is refused.
func uvarintLen(n uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], n)
}
