package inbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/bell"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// PostOptions tunes a Post. The zero value suits production.
type PostOptions struct {
	MaxMessages int              // held for one recipient; 0 means 10,000
	MaxBytes    int64            // held for one recipient; 0 means 64 MiB
	Now         func() time.Time // nil means time.Now
}

// A Post keeps envelopes of registered recipients until a device of theirs signs
// a receipt, or Expiry. What it returns it has synced. It is safe for concurrent
// use.
//
//	r ‖ recipient               its registration
//	m ‖ recipient ‖ seq u64be   an envelope, held
//	i ‖ recipient ‖ digest      where an envelope is, or its receipt
//	e ‖ time u64be ‖ recipient ‖ digest   when to forget it
type Post struct {
	store  store.Store
	prefix []byte
	o      PostOptions

	write sync.Mutex // one transaction at a time

	mu      sync.Mutex // guards changed
	changed map[keys.PublicKey]*bell.Bell
}

// A Store is where a relay keeps mail.
type Store = store.Store

// NewPost returns the post whose keys in s begin with prefix.
func NewPost(s Store, prefix []byte, o PostOptions) *Post {
	if o.MaxMessages == 0 {
		o.MaxMessages = 10_000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Post{store: s, prefix: append([]byte(nil), prefix...), o: o, changed: map[keys.PublicKey]*bell.Bell{}}
}

// A registration says that a recipient's envelopes are kept here.
type registration struct {
	_       struct{} `cbor:",toarray"`
	Version uint8
	Account keys.PublicKey // that it is counted against
	Since   keys.Millis
	Count   uint64 // envelopes held
	Bytes   uint64 // of them
	Seq     uint64 // of the last envelope
}

// An Item is an envelope as a post holds it.
type Item struct {
	Seq      uint64 // its position in the recipient's order of arrival, from 1
	Envelope []byte
}

// A Held says where an envelope is.
type Held struct {
	Known   bool
	Receipt []byte // nil while it is held
}

// Register makes the post keep envelopes for a recipient, on an account. It
// changes nothing if it does already.
func (p *Post) Register(recipient, account keys.PublicKey) error {
	return p.update(func(tx store.Tx) error {
		_, err := p.registration(tx, recipient)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return p.putRegistration(tx, recipient, registration{Version: version, Account: account, Since: keys.MillisOf(p.o.Now())})
	})
}

// Account returns the account that a recipient is registered on, or the zero key.
func (p *Post) Account(recipient keys.PublicKey) (keys.PublicKey, error) {
	view := p.store.Snapshot()
	defer view.Release()
	r, err := p.registration(view, recipient)
	if errors.Is(err, store.ErrNotFound) {
		return keys.PublicKey{}, nil
	}
	return r.Account, err
}

// Deposit keeps an encoded envelope. One that is held, or that was acknowledged
// within Expiry, is not kept again. It returns a [keys.Refusal] if the recipient
// is not registered or has no room.
func (p *Post) Deposit(envelope []byte) error {
	e, err := DecodeEnvelope(envelope)
	if err != nil {
		return err
	}
	err = p.update(func(tx store.Tx) error { return p.deposit(tx, e.Recipient, envelope) })
	if err == nil {
		p.notify(e.Recipient)
	}
	return err
}

func (p *Post) deposit(tx store.Tx, recipient keys.PublicKey, envelope []byte) error {
	r, err := p.registration(tx, recipient)
	if errors.Is(err, store.ErrNotFound) {
		return refuse(CodeUnknownRecipient, "The recipient has no mailbox at this peer: have it set one up, or send to another peer.")
	}
	if err != nil {
		return err
	}
	digest := digestOf(envelope)
	if _, err := tx.Get(p.indexKey(recipient, digest)); !errors.Is(err, store.ErrNotFound) {
		return err // held or acknowledged already, or the store failed
	}
	if r.Count >= uint64(p.o.MaxMessages) || r.Bytes+uint64(len(envelope)) > uint64(p.o.MaxBytes) {
		return refuse(CodeMailboxFull, "The recipient's mailbox at this peer is full: try again when it has fetched its messages.")
	}
	r.Seq++
	r.Count++
	r.Bytes += uint64(len(envelope))
	if err := p.putRegistration(tx, recipient, r); err != nil {
		return err
	}
	if err := tx.Put(p.itemKey(recipient, r.Seq), envelope); err != nil {
		return err
	}
	if err := tx.Put(p.indexKey(recipient, digest), binary.BigEndian.AppendUint64(nil, r.Seq)); err != nil {
		return err
	}
	return tx.Put(p.expiryKey(p.o.Now().Add(Expiry), recipient, digest), nil)
}

// Fetch returns the envelopes held for a recipient after a position in its order,
// at least one if there is any and at most about maxBytes.
func (p *Post) Fetch(recipient keys.PublicKey, after uint64, maxBytes int) ([]Item, error) {
	view := p.store.Snapshot()
	defer view.Release()
	prefix := p.key('m', recipient[:])
	it := view.Iterate(store.Range{Lower: p.itemKey(recipient, after+1), Upper: store.PrefixEnd(prefix)})
	defer it.Close()
	var items []Item
	for size := 0; it.Valid() && (len(items) == 0 || size < maxBytes); it.Next() {
		v, err := it.Value()
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		items = append(items, Item{Seq: binary.BigEndian.Uint64(it.Key()[len(prefix):]), Envelope: append([]byte(nil), v...)})
		size += len(v)
	}
	return items, it.Err()
}

// Acknowledge drops the envelopes that receipts of the recipient's devices name
// and keeps the receipts for their senders. Receipts that are malformed, or for
// what is not here, are refused or ignored; the good ones count.
func (p *Post) Acknowledge(receipts [][]byte) error {
	var first error
	good := make(map[Digest]Receipt, len(receipts))
	raw := make(map[Digest][]byte, len(receipts))
	for _, b := range receipts {
		r, err := DecodeReceipt(b)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		good[r.Digest], raw[r.Digest] = r, b
	}
	err := p.update(func(tx store.Tx) error {
		for d, r := range good {
			if err := p.acknowledge(tx, r.Certificate.Identity, d, raw[d]); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, first)
}

func (p *Post) acknowledge(tx store.Tx, recipient keys.PublicKey, d Digest, receipt []byte) error {
	at, err := tx.Get(p.indexKey(recipient, d))
	if errors.Is(err, store.ErrNotFound) || err == nil && len(at) != 8 {
		return nil // not here, or acknowledged before
	}
	if err != nil {
		return err
	}
	if err := p.drop(tx, recipient, binary.BigEndian.Uint64(at)); err != nil {
		return err
	}
	return tx.Put(p.indexKey(recipient, d), receipt)
}

// drop deletes a held envelope.
func (p *Post) drop(tx store.Tx, recipient keys.PublicKey, seq uint64) error {
	r, err := p.registration(tx, recipient)
	if err != nil {
		return err
	}
	envelope, err := tx.Get(p.itemKey(recipient, seq))
	if err != nil {
		return err
	}
	r.Count--
	r.Bytes -= uint64(len(envelope))
	if err := p.putRegistration(tx, recipient, r); err != nil {
		return err
	}
	return tx.Delete(p.itemKey(recipient, seq))
}

// Status says where the envelopes of one recipient are.
func (p *Post) Status(recipient keys.PublicKey, digests []Digest) ([]Held, error) {
	view := p.store.Snapshot()
	defer view.Release()
	out := make([]Held, len(digests))
	for i, d := range digests {
		v, err := view.Get(p.indexKey(recipient, d))
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, fmt.Errorf("status: %w", err)
		case len(v) == 8:
			out[i].Known = true
		default:
			out[i] = Held{Known: true, Receipt: append([]byte(nil), v...)}
		}
	}
	return out, nil
}

// Expire forgets envelopes and receipts that are older than Expiry, and returns
// how many. Call it now and then.
func (p *Post) Expire() (int, error) {
	const batch = 500
	for total := 0; ; {
		n := 0
		err := p.update(func(tx store.Tx) error {
			var err error
			n, err = p.expire(tx, batch)
			return err
		})
		total += n
		if err != nil || n < batch {
			return total, err
		}
	}
}

func (p *Post) expire(tx store.Tx, limit int) (int, error) {
	prefix := p.key('e')
	upper := binary.BigEndian.AppendUint64(p.key('e'), uint64(p.o.Now().UnixMilli()))
	var due [][]byte
	it := tx.Iterate(store.Range{Lower: prefix, Upper: upper, KeysOnly: true})
	for ; it.Valid() && len(due) < limit; it.Next() {
		due = append(due, append([]byte(nil), it.Key()...))
	}
	err := it.Err()
	it.Close()
	if err != nil {
		return 0, err
	}
	for _, k := range due {
		rest := k[len(prefix)+8:]
		recipient, digest := keys.PublicKey(rest[:32]), Digest(rest[32:])
		at, err := tx.Get(p.indexKey(recipient, digest))
		if err == nil && len(at) == 8 {
			err = p.drop(tx, recipient, binary.BigEndian.Uint64(at))
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, err
		}
		if err := tx.Delete(p.indexKey(recipient, digest)); err != nil {
			return 0, err
		}
		if err := tx.Delete(k); err != nil {
			return 0, err
		}
	}
	return len(due), nil
}

// Changed returns a channel that is closed when an envelope for the recipient
// arrives after the call.
func (p *Post) Changed(recipient keys.PublicKey) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.changed[recipient]
	if b == nil {
		b = new(bell.Bell)
		p.changed[recipient] = b
	}
	return b.Wait()
}

// notify wakes those who wait for the recipient; who waits again makes its bell anew.
func (p *Post) notify(recipient keys.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.changed[recipient]; b != nil {
		b.Ring()
		delete(p.changed, recipient)
	}
}

// update runs f in a transaction, commits it and syncs.
func (p *Post) update(f func(store.Tx) error) error {
	if err := p.commit(f); err != nil {
		return err
	}
	if err := p.store.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

func (p *Post) commit(f func(store.Tx) error) error {
	p.write.Lock()
	defer p.write.Unlock()
	tx := p.store.Begin()
	defer tx.Discard()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (p *Post) registration(r store.Reader, recipient keys.PublicKey) (registration, error) {
	var reg registration
	v, err := r.Get(p.key('r', recipient[:]))
	if err != nil {
		return reg, err
	}
	if err := decode(v, 256, "registration", &reg); err != nil {
		return reg, fmt.Errorf("stored registration: %w", err)
	}
	return reg, nil
}

func (p *Post) putRegistration(tx store.Tx, recipient keys.PublicKey, r registration) error {
	return tx.Put(p.key('r', recipient[:]), codec.Encode(r))
}

func (p *Post) key(kind byte, parts ...[]byte) []byte {
	k := append(append([]byte(nil), p.prefix...), kind)
	for _, part := range parts {
		k = append(k, part...)
	}
	return k
}

func (p *Post) itemKey(recipient keys.PublicKey, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(p.key('m', recipient[:]), seq)
}

func (p *Post) indexKey(recipient keys.PublicKey, d Digest) []byte {
	return p.key('i', recipient[:], d[:])
}

func (p *Post) expiryKey(t time.Time, recipient keys.PublicKey, d Digest) []byte {
	at := binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli()))
	return p.key('e', at, recipient[:], d[:])
}
