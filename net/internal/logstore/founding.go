package logstore

import (
	"encoding/binary"
	"errors"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/net/internal/format"
)

// Genesis reads the signed genesis; it aliases the store's view.
func (t Table) Genesis(r store.Reader) ([]byte, error) { return r.Get(t.key(keyGenesis)) }

// PutGenesis keeps the signed genesis.
func (t Table) PutGenesis(tx store.Tx, signed []byte) error {
	return tx.Put(t.key(keyGenesis), signed)
}

// Secrets reads the [Secrets], sealed to the device; it aliases the store's view.
func (t Table) Secrets(r store.Reader) ([]byte, error) { return r.Get(t.key(keySecrets)) }

// PutSecrets keeps the [Secrets], sealed to the device.
func (t Table) PutSecrets(tx store.Tx, sealed []byte) error {
	return tx.Put(t.key(keySecrets), sealed)
}

// Secrets is what a device needs to open the thread again, before it is sealed.
type Secrets struct {
	_      struct{} `cbor:",toarray"`
	Relay  bool
	Keys   []byte
	Invite []byte // of a join under way, or empty
}

// Encode returns the secrets as they are sealed.
func (s *Secrets) Encode() []byte { return rows.Encode(s) }

// DecodeSecrets is the inverse of Encode.
func DecodeSecrets(b []byte) (s Secrets, err error) {
	err = rows.Decode(b, "secrets of a thread", &s)
	return s, err
}

// NoLog is the number of no log.
const NoLog = 1<<32 - 1

// Own returns the numbers of the control and the data log of this device, NoLog for one
// that there is not.
func (t Table) Own(r store.Reader) (control, data uint32, err error) {
	v, err := r.Get(t.key(keyOwn))
	if errors.Is(err, store.ErrNotFound) {
		return NoLog, NoLog, nil
	}
	if err != nil {
		return NoLog, NoLog, err
	}
	if len(v) != 8 {
		return NoLog, NoLog, fault.Of(format.ErrMalformed, "the numbers of the own logs are not two")
	}
	return binary.BigEndian.Uint32(v), binary.BigEndian.Uint32(v[4:]), nil
}

// PutOwn remembers which logs are this device's.
func (t Table) PutOwn(tx store.Tx, control, data uint32) error {
	v := binary.BigEndian.AppendUint32(nil, control)
	return tx.Put(t.key(keyOwn), binary.BigEndian.AppendUint32(v, data))
}
