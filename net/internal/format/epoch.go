package format

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A SecretKey is a read or service key of a thread.
type SecretKey [32]byte

// Format prints "[secret]" for every verb.
func (SecretKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// NewSecretKey returns a random key.
func NewSecretKey() (k SecretKey) {
	_, _ = rand.Read(k[:]) // never fails: crypto/rand aborts the process instead
	return k
}

const (
	// MaxEpochs bounds the epochs under which one record is written: those that its
	// author has seen and none of which has seen another.
	MaxEpochs = 8
	maxKept   = 1 << 16 // epochs of a thread whose keys a device keeps
)

// Keys are the secrets of a thread that a device holds: the service key, with which the
// control logs are sealed, and a read key for each epoch. A relay has no read key. Keys
// are never changed: what adds to them returns others.
//
// An epoch is named by the thread's ID, the first, or by the hash of the control record
// that began it. Under several epochs, whose authors did not know of each other, the key is
// derived from all of theirs, so that who was removed by any of them lacks it.
type Keys struct {
	Service SecretKey
	Epochs  []clock.Hash // under which this device writes now, sorted; none: it cannot
	thread  ThreadID
	reads   map[clock.Hash]SecretKey // by epoch
}

// RelayKeys returns the keys of who can read no data.
func RelayKeys(thread ThreadID, service SecretKey) Keys {
	return Keys{thread: thread, Service: service}
}

// FirstKeys returns the keys of a thread that has one epoch.
func FirstKeys(thread ThreadID, read, service SecretKey) Keys {
	first := clock.Hash(thread)
	return Keys{thread: thread, Service: service, Epochs: []clock.Hash{first}, reads: map[clock.Hash]SecretKey{first: read}}
}

// CanRead reports whether a read key is held.
func (k *Keys) CanRead() bool { return len(k.reads) > 0 }

// Has reports whether the read key of an epoch is held.
func (k *Keys) Has(epoch clock.Hash) bool { _, ok := k.reads[epoch]; return ok }

// Held returns the epochs whose read key is held, sorted.
func (k *Keys) Held() []clock.Hash { return slices.SortedFunc(maps.Keys(k.reads), CompareHashes) }

// Len returns of how many epochs the read key is held.
func (k *Keys) Len() int { return len(k.reads) }

// With returns the keys with the read key of one more epoch.
func (k *Keys) With(epoch clock.Hash, read SecretKey) Keys {
	return k.and(map[clock.Hash]SecretKey{epoch: read})
}

// and returns the keys with more of them, up to maxKept: no honest thread has as many.
func (k *Keys) and(more map[clock.Hash]SecretKey) Keys {
	all := *k
	all.reads = make(map[clock.Hash]SecretKey, len(k.reads)+len(more))
	maps.Copy(all.reads, k.reads)
	for epoch, read := range more {
		if len(all.reads) < maxKept {
			all.reads[epoch] = read
		}
	}
	return all
}

// Under returns the keys for who writes under epochs from now on. They are sorted.
func (k *Keys) Under(epochs []clock.Hash) Keys {
	now := *k
	now.Epochs = slices.SortedFunc(slices.Values(epochs), CompareHashes)
	return now
}

// Read returns the key of what is written under epochs, which are sorted; ok is false if
// that of one is not held.
func (k *Keys) Read(epochs []clock.Hash) (read SecretKey, ok bool) {
	if len(epochs) == 1 {
		read, ok = k.reads[epochs[0]]
		return read, ok
	}
	if len(epochs) == 0 || len(epochs) > MaxEpochs {
		return read, false
	}
	secrets := make([]byte, 0, len(epochs)*len(read))
	info := append(append([]byte(domainEpochs), 0), k.thread[:]...)
	for _, e := range epochs {
		one, ok := k.reads[e]
		if !ok {
			return read, false
		}
		secrets, info = append(secrets, one[:]...), append(info, e[:]...)
	}
	b, err := hkdf.Key(sha256.New, secrets, nil, string(info), len(read))
	return SecretKey(b), err == nil
}

// EpochsName returns the one name of epochs, which are sorted.
func EpochsName(thread ThreadID, epochs []clock.Hash) clock.Hash {
	if len(epochs) == 1 {
		return epochs[0]
	}
	parts := [][]byte{thread[:]}
	for i := range epochs {
		parts = append(parts, epochs[i][:])
	}
	return digest(domainEpochs, parts...)
}

// named returns the key of what was sealed under the epochs of a name. Of several, which
// records list and blobs do not, two or three are tried.
func (k *Keys) named(name clock.Hash) (SecretKey, bool) {
	if read, ok := k.reads[name]; ok {
		return read, true
	}
	if name == EpochsName(k.thread, k.Epochs) {
		return k.Read(k.Epochs)
	}
	all := slices.SortedFunc(maps.Keys(k.reads), CompareHashes)
	if len(all) > 64 {
		return SecretKey{}, false
	}
	for i := range all {
		for j := i + 1; j < len(all); j++ {
			if set := []clock.Hash{all[i], all[j]}; EpochsName(k.thread, set) == name {
				return k.Read(set)
			}
			for l := j + 1; l < len(all); l++ {
				if set := []clock.Hash{all[i], all[j], all[l]}; EpochsName(k.thread, set) == name {
					return k.Read(set)
				}
			}
		}
	}
	return SecretKey{}, false
}

// CommitTo returns the commitment to a key that a genesis or a new epoch carries: whoever
// is given the key later can check that it is the one.
func CommitTo(k SecretKey) clock.Hash { return digest(domainKeyCommit, k[:]) }

// StateTag returns what stands for a state hash wherever a relay sees it: an HMAC with the
// read key of the first epoch, which every member has. Members compare tags as they would
// the hashes; who lacks the key can test no guess of the documents.
func (k *Keys) StateTag(state clock.Hash) clock.Hash {
	first := k.reads[clock.Hash(k.thread)]
	mac := hmac.New(sha256.New, first[:])
	mac.Write(append([]byte(domainState), 0))
	mac.Write(k.thread[:])
	mac.Write(state[:])
	return clock.Hash(mac.Sum(nil))
}

// SealedTo is the context that keys are sealed in: what was sealed for one thread or
// purpose does not open for another.
func SealedTo(thread ThreadID, purpose string) []byte {
	return append(append([]byte("weft/1/keys/"+purpose), 0), thread[:]...)
}

type keysWire struct {
	_       struct{} `cbor:",toarray"`
	Service SecretKey
	Reads   []byte // epoch bytes32 ‖ read key bytes32, one after the other, sorted by epoch
}

const readSize = 64

// joined returns the read keys of some epochs, sorted; of an epoch whose key is not held
// there is none.
func (k *Keys) joined(epochs []clock.Hash) []byte {
	b := make([]byte, 0, len(epochs)*readSize)
	for _, e := range slices.SortedFunc(slices.Values(epochs), CompareHashes) {
		if read, ok := k.reads[e]; ok {
			b = append(append(b, e[:]...), read[:]...)
		}
	}
	return b
}

// Encode returns the bytes in which a device keeps the keys, sealed to itself.
func (k *Keys) Encode() []byte {
	return codec.Encode(&keysWire{Service: k.Service, Reads: k.joined(slices.Collect(maps.Keys(k.reads)))})
}

// DecodeKeys parses what [Keys.Encode] returns strictly. Under which epochs the device
// writes is for who knows the control records.
func DecodeKeys(thread ThreadID, p []byte) (Keys, error) {
	var w keysWire
	if err := codec.Decode(p, "keys of a thread", &w); err != nil {
		return Keys{}, err
	}
	k := RelayKeys(thread, w.Service)
	var err error
	k.reads, err = readsOf(w.Reads, maxKept)
	return k, err
}

// readsOf parses what joined returns: sorted, each once, at most so many.
func readsOf(b []byte, most int) (map[clock.Hash]SecretKey, error) {
	if len(b)%readSize != 0 || len(b) > most*readSize {
		return nil, fault.Of(ErrMalformed, "keys of epochs in %d bytes, of at most %d epochs", len(b), most)
	}
	var reads map[clock.Hash]SecretKey
	var last clock.Hash
	for ; len(b) > 0; b = b[readSize:] {
		epoch := clock.Hash(b)
		if reads == nil {
			reads = make(map[clock.Hash]SecretKey, len(b)/readSize)
		} else if CompareHashes(last, epoch) >= 0 {
			return nil, fault.Of(ErrMalformed, "keys of epochs that are not sorted")
		}
		reads[epoch], last = SecretKey(b[32:]), epoch
	}
	return reads, nil
}

// An Epoch is what a rotation or a removal begins: from then on records are sealed with a
// key that only those have to whom it is given.
type Epoch struct {
	Commit   clock.Hash   // to the new read key: [CommitTo]
	Devices  []DeviceSeal // the key, sealed to each device that goes on reading
	Invites  []InviteSeal // sealed to the secret of each open invite, by its record
	Previous []byte       // the read keys of epochs before it, sealed with the new one
}

// A DeviceSeal is a read key that is sealed to a device.
type DeviceSeal struct {
	Tag    [8]byte // the first bytes of the device's signing key: where to look
	Sealed [80]byte
}

// An InviteSeal is a read key that is sealed to an invite's secret.
type InviteSeal struct {
	Invite clock.Hash
	Sealed [80]byte
}

const (
	deviceSealSize = 8 + 80
	inviteSealSize = 32 + 80
	// MaxDevices bounds the devices that an epoch is sealed to.
	MaxDevices = 3000
	// MaxSealedTo bounds the invites that an epoch is sealed to.
	MaxSealedTo = 512
	// MaxBefore bounds the epochs whose keys another gives.
	MaxBefore   = 1000
	maxSameTag  = 4 // devices whose keys begin alike, by their makers' choice
	maxPrevious = 64 << 10
	sealDevice  = "epoch/device"
	sealInvite  = "epoch/invite"
)

type epochWire struct {
	_        struct{} `cbor:",toarray"`
	Commit   clock.Hash
	Devices  []byte // tag bytes8 ‖ sealed bytes80, one after the other
	Invites  []byte // record bytes32 ‖ sealed bytes80
	Previous []byte
}

func (e *Epoch) wire() *epochWire {
	w := &epochWire{Commit: e.Commit, Previous: e.Previous}
	for i := range e.Devices {
		w.Devices = append(append(w.Devices, e.Devices[i].Tag[:]...), e.Devices[i].Sealed[:]...)
	}
	for i := range e.Invites {
		w.Invites = append(append(w.Invites, e.Invites[i].Invite[:]...), e.Invites[i].Sealed[:]...)
	}
	return w
}

func (w *epochWire) epoch() (*Epoch, error) {
	if len(w.Devices)%deviceSealSize != 0 || len(w.Devices) > MaxDevices*deviceSealSize ||
		len(w.Invites)%inviteSealSize != 0 || len(w.Invites) > MaxSealedTo*inviteSealSize || len(w.Previous) > maxPrevious {
		return nil, fault.Of(ErrMalformed, "an epoch of %d, %d and %d bytes", len(w.Devices), len(w.Invites), len(w.Previous))
	}
	e := &Epoch{Commit: w.Commit, Previous: w.Previous}
	for b := w.Devices; len(b) > 0; b = b[deviceSealSize:] {
		e.Devices = append(e.Devices, DeviceSeal{Tag: [8]byte(b), Sealed: [80]byte(b[8:])})
	}
	for b := w.Invites; len(b) > 0; b = b[inviteSealSize:] {
		e.Invites = append(e.Invites, InviteSeal{Invite: clock.Hash(b), Sealed: [80]byte(b[32:])})
	}
	for i := 1; i < len(e.Devices); i++ {
		if bytes.Compare(e.Devices[i-1].Tag[:], e.Devices[i].Tag[:]) > 0 {
			return nil, fault.Of(ErrMalformed, "the devices of an epoch are not sorted")
		}
	}
	for i := 1; i < len(e.Invites); i++ {
		if CompareHashes(e.Invites[i-1].Invite, e.Invites[i].Invite) >= 0 {
			return nil, fault.Of(ErrMalformed, "the invites of an epoch are not sorted")
		}
	}
	return e, nil
}

// A Recipient is a device that an epoch is sealed to.
type Recipient struct{ Sign, Seal [32]byte }

// NewEpoch returns an epoch with a new read key, sealed to devices and invites, by the key
// of each invite. k are the keys of its author: those of the first [MaxBefore] of the epochs
// before go along. Its author opens the new key as the others do.
func NewEpoch(thread ThreadID, k *Keys, before []clock.Hash, devices []Recipient, invites map[clock.Hash]keys.PublicKey) (*Epoch, error) {
	read := NewSecretKey()
	e := &Epoch{Commit: CommitTo(read)}
	if len(devices) > MaxDevices || len(invites) > MaxSealedTo {
		return nil, fault.Of(ErrTooLarge, "an epoch for %d devices and %d invites, at most %d and %d", len(devices), len(invites), MaxDevices, MaxSealedTo)
	}
	for _, d := range devices {
		seal := DeviceSeal{Tag: [8]byte(d.Sign[:])}
		// A key that nothing can be sealed to, as its device has chosen, keeps nobody from
		// being removed: what is there for it opens with no key.
		if b, err := keys.Seal(d.Seal, SealedTo(thread, sealDevice), e.Commit[:], read[:]); err == nil {
			seal.Sealed = [80]byte(b)
		}
		e.Devices = append(e.Devices, seal)
	}
	slices.SortFunc(e.Devices, func(a, b DeviceSeal) int {
		return bytes.Compare(append(a.Tag[:], a.Sealed[:]...), append(b.Tag[:], b.Sealed[:]...))
	})
	for invite, key := range invites {
		seal := InviteSeal{Invite: invite}
		if to, err := key.SealingPublic(); err == nil {
			if b, err := keys.Seal(to, SealedTo(thread, sealInvite), e.Commit[:], read[:]); err == nil {
				seal.Sealed = [80]byte(b)
			}
		}
		e.Invites = append(e.Invites, seal)
	}
	slices.SortFunc(e.Invites, func(a, b InviteSeal) int { return CompareHashes(a.Invite, b.Invite) })
	aead, err := previousAEAD(thread, read)
	if err != nil {
		return nil, err
	}
	e.Previous = aead.Seal(nil, make([]byte, chacha20poly1305.NonceSize), k.joined(before[:min(len(before), MaxBefore)]), e.Commit[:])
	return e, nil
}

// previousAEAD is the cipher of what an epoch says of those before it. Its key seals that
// alone, so that the nonce may be zero.
func previousAEAD(thread ThreadID, read SecretKey) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, read[:], nil, domainPrevious+"\x00"+string(thread[:]), 32)
	if err != nil {
		return nil, fmt.Errorf("hkdf: %w", err)
	}
	return chacha20poly1305.New(key)
}

// ForDevice opens the key of the epoch that is sealed to a device; ErrSealed says that
// none is.
func (e *Epoch) ForDevice(thread ThreadID, device *keys.Device) (SecretKey, error) {
	sign := device.Public().Sign
	tag := [8]byte(sign[:])
	tried := 0
	for i := range e.Devices {
		if e.Devices[i].Tag == tag && tried < maxSameTag {
			tried++
			if read, err := e.open(device.SealingKey(), SealedTo(thread, sealDevice), e.Devices[i].Sealed[:]); err == nil {
				return read, nil
			}
		}
	}
	return SecretKey{}, fault.Of(ErrSealed, "the epoch is sealed to other devices")
}

// ForInvite opens the key of the epoch that is sealed to an invite, by its record;
// ErrSealed says that none is.
func (e *Epoch) ForInvite(thread ThreadID, invite clock.Hash, id *keys.Identity) (SecretKey, error) {
	for i := range e.Invites {
		if e.Invites[i].Invite == invite {
			return e.open(id.SealingKey(), SealedTo(thread, sealInvite), e.Invites[i].Sealed[:])
		}
	}
	return SecretKey{}, fault.Of(ErrSealed, "the epoch is sealed to other invites")
}

func (e *Epoch) open(with keys.SealingKey, info, sealed []byte) (SecretKey, error) {
	b, err := keys.Open(with, info, e.Commit[:], sealed)
	if err != nil {
		return SecretKey{}, fault.Of(ErrSealed, "the key of an epoch: %w", err)
	}
	return e.check(b)
}

// check says whether b is the key that the epoch commits to.
func (e *Epoch) check(b []byte) (read SecretKey, err error) {
	if len(b) != len(read) || CommitTo(SecretKey(b)) != e.Commit {
		return read, fault.Of(ErrWrongKey, "another key than the epoch commits to")
	}
	return SecretKey(b), nil
}

// Before adds to k the read keys that the epoch, of which read is the key, gives of those
// before it, if they are what `commits` says of an epoch: the commitment to its key. It
// returns the epochs that it gives, too, in order, those whose record is not known among them.
func (e *Epoch) Before(thread ThreadID, k *Keys, read SecretKey, commits func(epoch clock.Hash) (clock.Hash, bool)) (all Keys, gives []clock.Hash, err error) {
	all = *k
	aead, err := previousAEAD(thread, read)
	if err != nil {
		return all, nil, err
	}
	plain, err := aead.Open(nil, make([]byte, chacha20poly1305.NonceSize), e.Previous, e.Commit[:])
	if err != nil {
		return all, nil, fault.Of(ErrSealed, "what an epoch says of those before it is altered")
	}
	reads, err := readsOf(plain, MaxBefore)
	if err != nil {
		return all, nil, err
	}
	for epoch, read := range reads {
		want, known := commits(epoch)
		right := known && CommitTo(read) == want
		if right || !known { // its record has not arrived
			gives = append(gives, epoch)
		}
		if !right || all.Has(epoch) {
			delete(reads, epoch)
		}
	}
	slices.SortFunc(gives, CompareHashes)
	return all.and(reads), gives, nil
}

// SealForInvite seals the read keys of the epochs that k is written under to an invite's
// secret.
func SealForInvite(thread ThreadID, id *keys.Identity, k *Keys) ([]byte, error) {
	return keys.Seal(id.SealingKey().Public(), SealedTo(thread, "invite"), nil, k.joined(k.Epochs))
}

// OpenWithInvite adds to k what [SealForInvite] sealed, checked against the commitment to
// the key of each epoch; at least one must be right.
func OpenWithInvite(thread ThreadID, k *Keys, id *keys.Identity, sealed []byte, commits func(epoch clock.Hash) (clock.Hash, bool)) (Keys, error) {
	p, err := keys.Open(id.SealingKey(), SealedTo(thread, "invite"), nil, sealed)
	if err != nil {
		return Keys{}, fault.Of(ErrSealed, "the invite does not open its keys: %w", err)
	}
	return k.given(p, commits)
}

// given adds to k read keys that a record gives in plain, checked against the commitments.
func (k *Keys) given(p []byte, commits func(epoch clock.Hash) (clock.Hash, bool)) (Keys, error) {
	reads, err := readsOf(p, MaxEpochs)
	if err != nil {
		return Keys{}, err
	}
	for epoch, read := range reads {
		if want, ok := commits(epoch); !ok || CommitTo(read) != want {
			return Keys{}, fault.Of(ErrWrongKey, "other keys are given than the thread's")
		}
	}
	if len(reads) == 0 {
		return Keys{}, fault.Of(ErrWrongKey, "no keys are given")
	}
	return k.and(reads), nil
}
