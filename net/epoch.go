package net

import (
	"crypto/rand"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// A secretKey is a read or service key of an epoch.
type secretKey [32]byte

// Format prints "[secret]" for every verb.
func (secretKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// threadKeys are the secrets of one epoch. A relay has no read key.
type threadKeys struct {
	Epoch   clock.Hash
	Read    secretKey // zero if not held
	Service secretKey
}

func (k *threadKeys) canRead() bool { return k.Read != secretKey{} }

func newThreadKeys() threadKeys {
	var k threadKeys
	_, _ = rand.Read(k.Read[:]) // never fails: crypto/rand aborts the process instead
	_, _ = rand.Read(k.Service[:])
	return k
}

func commitTo(k secretKey) clock.Hash { return digest(domainKeyCommit, k[:]) }

// sealedTo is the context that an epoch's keys are sealed in.
func sealedTo(thread ThreadID, purpose string) []byte {
	return append(append([]byte("weft/1/keys/"+purpose), 0), thread[:]...)
}

type keysWire struct {
	_       struct{} `cbor:",toarray"`
	Epoch   clock.Hash
	Read    secretKey
	Service secretKey
}

func (k *threadKeys) encode() []byte {
	return encode(&keysWire{Epoch: k.Epoch, Read: k.Read, Service: k.Service})
}

func decodeThreadKeys(p []byte) (threadKeys, error) {
	var w keysWire
	if err := decode(p, "keys of an epoch", &w); err != nil {
		return threadKeys{}, err
	}
	return threadKeys{Epoch: w.Epoch, Read: w.Read, Service: w.Service}, nil
}

// sealForInvite seals the keys to an invite's secret.
func sealForInvite(thread ThreadID, id *keys.Identity, k *threadKeys) ([]byte, error) {
	return keys.Seal(id.SealingKey().Public(), sealedTo(thread, "invite"), nil, k.encode())
}

// openWithInvite opens what sealForInvite sealed and checks it against the genesis.
func openWithInvite(thread ThreadID, g *genesis, id *keys.Identity, sealed []byte) (threadKeys, error) {
	p, err := keys.Open(id.SealingKey(), sealedTo(thread, "invite"), nil, sealed)
	if err != nil {
		return threadKeys{}, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	k, err := decodeThreadKeys(p)
	if err != nil {
		return threadKeys{}, err
	}
	if k.Epoch != clock.Hash(thread) || commitTo(k.Read) != g.Read || commitTo(k.Service) != g.Service {
		return threadKeys{}, fmt.Errorf("%w: the invite gives other keys than the thread's", ErrWrongKey)
	}
	return k, nil
}
