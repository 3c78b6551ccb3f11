package format

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A SecretKey is a read or service key of an epoch.
type SecretKey [32]byte

// Format prints "[secret]" for every verb.
func (SecretKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// Keys are the secrets of one epoch. A relay has no read key.
type Keys struct {
	Epoch   clock.Hash
	Read    SecretKey // zero if not held
	Service SecretKey
}

// CanRead reports whether the read key is held.
func (k *Keys) CanRead() bool { return k.Read != SecretKey{} }

// NewKeys returns new random keys; the epoch is named once the genesis is signed.
func NewKeys() Keys {
	var k Keys
	_, _ = rand.Read(k.Read[:]) // never fails: crypto/rand aborts the process instead
	_, _ = rand.Read(k.Service[:])
	return k
}

// CommitTo returns the commitment to a key that a genesis carries: whoever is given
// the key later can check that it is the one.
func CommitTo(k SecretKey) clock.Hash { return digest(domainKeyCommit, k[:]) }

// StateTag returns what stands for a state hash wherever a relay sees it: an HMAC
// with the read key. Members compare tags as they would the hashes; who lacks the key
// can test no guess of the documents.
func (k *Keys) StateTag(thread ThreadID, state clock.Hash) clock.Hash {
	mac := hmac.New(sha256.New, k.Read[:])
	mac.Write(append([]byte(domainState), 0))
	mac.Write(thread[:])
	mac.Write(k.Epoch[:])
	mac.Write(state[:])
	return clock.Hash(mac.Sum(nil))
}

// SealedTo is the context that an epoch's keys are sealed in: what was sealed for
// one thread or purpose does not open for another.
func SealedTo(thread ThreadID, purpose string) []byte {
	return append(append([]byte("weft/1/keys/"+purpose), 0), thread[:]...)
}

type keysWire struct {
	_       struct{} `cbor:",toarray"`
	Epoch   clock.Hash
	Read    SecretKey
	Service SecretKey
}

// Encode returns the bytes that are sealed to an invite or a device.
func (k *Keys) Encode() []byte {
	return codec.Encode(&keysWire{Epoch: k.Epoch, Read: k.Read, Service: k.Service})
}

// DecodeKeys parses what [Keys.Encode] returns strictly.
func DecodeKeys(p []byte) (Keys, error) {
	var w keysWire
	if err := codec.Decode(p, "keys of an epoch", &w); err != nil {
		return Keys{}, err
	}
	return Keys{Epoch: w.Epoch, Read: w.Read, Service: w.Service}, nil
}

// SealForInvite seals the keys to an invite's secret.
func SealForInvite(thread ThreadID, id *keys.Identity, k *Keys) ([]byte, error) {
	return keys.Seal(id.SealingKey().Public(), SealedTo(thread, "invite"), nil, k.Encode())
}

// OpenWithInvite opens what [SealForInvite] sealed and checks it against the genesis.
func OpenWithInvite(thread ThreadID, g *Genesis, id *keys.Identity, sealed []byte) (Keys, error) {
	p, err := keys.Open(id.SealingKey(), SealedTo(thread, "invite"), nil, sealed)
	if err != nil {
		return Keys{}, fault.Of(ErrSealed, "the invite does not open its keys: %w", err)
	}
	k, err := DecodeKeys(p)
	if err != nil {
		return Keys{}, err
	}
	if k.Epoch != clock.Hash(thread) || CommitTo(k.Read) != g.Read || CommitTo(k.Service) != g.Service {
		return Keys{}, fault.Of(ErrWrongKey, "the invite gives other keys than the thread's")
	}
	return k, nil
}
