// Package hosting keeps by what a hub writes for identities that are not its own: its device for
// each, derived from one master key, and the delegation that the identity signed to that device.
//
//	wh/d/ ‖ identity         the delegation, as it was signed
//	wh/s/ ‖ space            [1, account, identity, created]: whose databases are under that name
//
// Formats, and what is left to the hub by a delegation: docs/design/hub.md.
package hosting

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// generation is that of the devices in use: one for each identity, until there is reason for more.
const generation = 1

// MaxSpaces is how many spaces a hub keeps for one account.
const MaxSpaces = 10_000

// ErrNoDelegation reports an identity that has not delegated to this hub.
var ErrNoDelegation = fault.New(fault.NoDelegation, "this hub does not write for you: sign a delegation to it first")

var codec = canonical.New(canonical.Options{
	Version: 1, Elements: 16, Nesting: 4,
	Malformed: keys.ErrMalformed, TooLarge: keys.ErrTooLarge, UnknownVersion: keys.ErrVersion,
})

// A Table has the delegations and spaces of one hub. It is safe for concurrent use.
type Table struct {
	store  store.Store
	prefix string
	master func(may bool) (keys.Secret, bool, error)

	mu     sync.Mutex // serialises changes; guards what follows
	secret keys.Secret
	spaces map[keys.PublicKey]int // by account; nil until they are counted
}

// In returns the table below a prefix of the store's keys. master reads the master key; there is
// ok only if there is one, and one is made only if it may be.
func In(s store.Store, prefix string, master func(may bool) (key keys.Secret, ok bool, err error)) *Table {
	return &Table{store: s, prefix: prefix, master: master}
}

func (t *Table) key(kind string, name []byte) []byte {
	return append([]byte(t.prefix+kind+"/"), name...)
}

// Device returns the hub's device for an identity, nil if this node has no master key: it hosts
// nothing.
func (t *Table) Device(identity keys.PublicKey, generation uint64) (*keys.Device, error) {
	return t.device(identity, generation, false)
}

func (t *Table) device(identity keys.PublicKey, generation uint64, may bool) (*keys.Device, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.secret.Len() == 0 {
		if may { // a lost key is no reason for another one: what is hosted would be lost without a word
			some, err := t.any()
			if err != nil {
				return nil, err
			}
			may = !some
		}
		s, ok, err := t.master(may)
		if err != nil || !ok {
			return nil, err
		}
		t.secret = s
	}
	return keys.HubDevice(t.secret, identity, generation)
}

// any reports whether something was ever hosted here.
func (t *Table) any() (bool, error) {
	snap := t.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix([]byte(t.prefix)))
	defer it.Close()
	return it.Valid(), it.Err()
}

// Offer returns the device to which an identity is to delegate, and its generation. The master key
// is made now if there is none.
func (t *Table) Offer(identity keys.PublicKey) (keys.DevicePublic, uint64, error) {
	d, err := t.device(identity, generation, true)
	if err == nil && d == nil {
		err = fault.Errorf(fault.Corrupt, "the key by which this hub writes for others is missing: restore it from a backup")
	}
	if err != nil {
		return keys.DevicePublic{}, 0, err
	}
	return d.Public(), generation, nil
}

// Delegate takes the delegation of an identity in the place of the one before, which must not be
// newer. It is durable on return.
func (t *Table) Delegate(identity keys.PublicKey, encoded []byte, now time.Time) error {
	d, err := keys.DecodeDelegation(encoded)
	if err != nil {
		return err
	}
	if err := d.Verify(now); err != nil {
		return err
	}
	device, _, err := t.Offer(identity)
	if err != nil {
		return err
	}
	if d.Identity != identity {
		return &keys.Refusal{Code: keys.CodeWrongUser, Message: "The delegation is of another identity than the one that calls."}
	}
	if d.Device() != device || d.Generation != generation || d.Rights&keys.RightCreate == 0 {
		return fault.Of(keys.ErrInvalid, "the delegation is to another device than this hub's for the identity, or without the right to create")
	}
	if d.Expires != 0 { // the databases made by it would take no more writes, and none of the owner's devices is in them
		return fault.Of(keys.ErrInvalid, "a delegation to this hub cannot have an end: sign one without")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old, err := t.Delegation(identity)
	if err != nil {
		return err
	}
	if old != nil && d.Issued < old.Issued {
		return fault.Of(keys.ErrInvalid, "this hub has a delegation that is newer than this one")
	}
	return t.put(t.key("d", identity[:]), encoded)
}

func (t *Table) put(key, value []byte) error {
	tx := t.store.Begin()
	defer tx.Discard()
	if err := errors.Join(tx.Put(key, value), tx.Commit()); err != nil {
		return err
	}
	return t.store.Sync()
}

// Delegation returns what an identity delegated, nil for nothing.
func (t *Table) Delegation(identity keys.PublicKey) (*keys.Delegation, error) {
	snap := t.store.Snapshot()
	defer snap.Release()
	b, err := snap.Get(t.key("d", identity[:]))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("delegation: %w", err)
	}
	return keys.DecodeDelegation(b)
}

// InForce returns the delegation by which the hub writes for an identity, or ErrNoDelegation.
func (t *Table) InForce(identity keys.PublicKey) (*keys.Delegation, error) {
	d, err := t.Delegation(identity)
	if err == nil && d == nil {
		err = ErrNoDelegation
	}
	return d, err
}

type spaceRow struct {
	_        struct{} `cbor:",toarray"`
	Version  uint8
	Account  keys.PublicKey
	Identity keys.PublicKey
	Created  keys.Millis
}

// Begin notes whose space a name is, before the first database in it is made; it does so once.
// More than [MaxSpaces] of an account are refused.
func (t *Table) Begin(space string, account, identity keys.PublicKey, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := t.key("s", []byte(space))
	snap := t.store.Snapshot()
	_, err := snap.Get(key)
	snap.Release()
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err := t.count(); err != nil {
		return err
	}
	if t.spaces[account] >= MaxSpaces {
		return fault.Errorf(fault.QuotaExceeded, "this hub keeps databases for %d users of one account, and has as many", MaxSpaces)
	}
	if err := t.put(key, codec.Encode(spaceRow{Version: 1, Account: account, Identity: identity, Created: keys.MillisOf(now)})); err != nil {
		return err
	}
	t.spaces[account]++
	return nil
}

// count counts the spaces of each account, once. The caller holds t.mu.
func (t *Table) count() error {
	if t.spaces != nil {
		return nil
	}
	snap := t.store.Snapshot()
	defer snap.Release()
	it := snap.Iterate(store.Prefix(t.key("s", nil)))
	defer it.Close()
	n := map[keys.PublicKey]int{}
	for ; it.Valid(); it.Next() {
		b, err := it.Value()
		if err != nil {
			return fmt.Errorf("spaces: %w", err)
		}
		var r spaceRow
		if err := codec.DecodeVersioned(b, 256, "space", &r); err != nil {
			return fmt.Errorf("spaces: %w", err)
		}
		n[r.Account]++
	}
	if err := it.Err(); err != nil {
		return fmt.Errorf("spaces: %w", err)
	}
	t.spaces = n
	return nil
}

// SpaceID is the name of a space, of 32 characters: a hash, so that it tells nobody's identity.
func SpaceID(account, user keys.PublicKey) string {
	h := sha256.New()
	h.Write([]byte("weft/1/space\x00"))
	h.Write(account[:])
	h.Write(user[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)[:20]))
}

// Without returns an error whose sentence has a prefix of names nowhere: what it says is for those
// who know the names without it.
func Without(prefix string, err error) error {
	if err == nil || prefix == "" || !strings.Contains(err.Error(), prefix) {
		return err
	}
	return &renamed{err, strings.ReplaceAll(err.Error(), prefix, "")}
}

type renamed struct {
	error
	text string
}

func (e *renamed) Error() string { return e.text }
func (e *renamed) Unwrap() error { return e.error }
