package wire

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/net/internal/format"
)

// MaxAnnouncedAt is how many addresses an announcement holds.
const MaxAnnouncedAt = 16

const (
	maxAnnouncement = 4 << 10
	topicPrefix     = "weft/1/"
	topicBytes      = len(topicPrefix) + 64
)

// An Announcement says who holds what. It is a hint: nothing is believed of it.
type Announcement struct {
	_      struct{} `cbor:",toarray"`
	Peer   []byte
	Digest []byte // of the tips
	Addrs  [][]byte
}

// A Topic is where the growth of a thread is announced, with the cipher of what is
// said there: only holders of the service key have either.
type Topic struct {
	Name string
	aead cipher.AEAD
}

// IsTopic reports whether a name has the form of a topic's.
func IsTopic(name string) bool {
	return len(name) == topicBytes && strings.HasPrefix(name, topicPrefix)
}

// TopicOf returns the topic of a thread.
func TopicOf(serviceKey []byte, id format.ThreadID) (Topic, error) {
	out, err := hkdf.Key(sha256.New, serviceKey, id[:], "weft/1/announce", 64)
	if err != nil {
		return Topic{}, err
	}
	aead, err := chacha20poly1305.New(out[32:])
	return Topic{Name: topicPrefix + hex.EncodeToString(out[:32]), aead: aead}, err
}

// Seal returns what is published; the nonce is random, as all hosts of the thread
// share the key.
func (t Topic) Seal(a Announcement) []byte {
	plain := Encode(&a)
	nonce := make([]byte, t.aead.NonceSize(), t.aead.NonceSize()+len(plain)+t.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return t.aead.Seal(nonce, nonce, plain, nil)
}

// Open opens and checks what somebody published.
func (t Topic) Open(sealed []byte) (a Announcement, err error) {
	n := t.aead.NonceSize()
	if len(sealed) < n || len(sealed) > maxAnnouncement {
		return a, fault.Of(ErrFrame, "announcement of %d bytes", len(sealed))
	}
	plain, err := t.aead.Open(nil, sealed[:n], sealed[n:], nil)
	if err != nil {
		return a, fault.Of(ErrFrame, "announcement: %w", err)
	}
	if err := Decode(plain, &a); err != nil {
		return a, err
	}
	if len(a.Digest) != 32 || len(a.Addrs) > MaxAnnouncedAt {
		return a, fault.Of(ErrFrame, "the announcement is malformed")
	}
	return a, nil
}
