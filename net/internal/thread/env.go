package thread

import (
	"fmt"
	"log/slog"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// An Env is what the threads of one host share.
type Env struct {
	store  store.Store
	device *keys.Device
	cert   *keys.Certificate // of the device; a relay that joins nothing needs none
	clock  *clock.Clock
	sealer *format.Sealer
	dir    string // of blob files
	log    *slog.Logger

	// hub gives the device by which this host writes for an identity, as a hub, nil for none; nil if
	// it is no hub.
	hub func(identity keys.PublicKey, generation uint64) (*keys.Device, error)
}

// NewEnv returns what threads in a store need; the caller owes Close. A clock or a
// log that is nil is made.
func NewEnv(s store.Store, dir string, device *keys.Device, cert *keys.Certificate, c *clock.Clock, log *slog.Logger) (*Env, error) {
	if c == nil {
		c = &clock.Clock{}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sealer, err := format.NewSealer()
	if err != nil {
		return nil, err
	}
	return &Env{store: s, device: device, cert: cert, clock: c, sealer: sealer, dir: dir, log: log}, nil
}

// SetHub makes the host a hub: it has another device in the threads of each identity that
// delegates to one which hub gives. It is called before the first thread.
func (e *Env) SetHub(hub func(identity keys.PublicKey, generation uint64) (*keys.Device, error)) {
	e.hub = hub
}

// of returns the environment of the thread of a genesis. Its device is that which the genesis
// delegates to, if it is one of this hub's.
func (e *Env) of(signed []byte) (*Env, error) {
	g, err := format.DecodeGenesis(signed)
	if err != nil || g.Delegation == nil {
		return e, err
	}
	device, err := e.delegated(g.Delegation)
	if device == nil || err != nil {
		return e, err
	}
	x := *e
	if x.device = device; device != e.device {
		x.cert = nil
	}
	return &x, nil
}

// delegated returns the device of this host that a delegation is to; nil if it is none of its.
func (e *Env) delegated(d *keys.Delegation) (*keys.Device, error) {
	if d.Device() == e.device.Public() {
		return e.device, nil
	}
	if e.hub == nil {
		return nil, nil
	}
	device, err := e.hub(d.Identity, d.Generation)
	if err != nil {
		return nil, fmt.Errorf("device of the hub: %w", err)
	}
	if device == nil || device.Public() != d.Device() {
		return nil, nil
	}
	return device, nil
}

// Close frees what the threads used; they are closed before.
func (e *Env) Close() { e.sealer.Close() }

// certificate returns that of the device. A hub's device has none: it joins and recovers nothing.
func (e *Env) certificate() ([]byte, error) {
	if e.cert == nil {
		return nil, fault.Of(ErrNotMember, "the device by which this hub writes for the database's owner takes part in no other way")
	}
	return e.cert.Encode()
}

// self returns the device's key, by which members know it.
func (e *Env) self() keys.PublicKey { return e.device.Public().Sign }
