package thread

import (
	"log/slog"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/self"
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

	// Hub gives the host's devices as a hub; it is set before the first thread.
	Hub self.Hub
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

// of returns the environment of the thread of a genesis, in which a hub may have another device.
func (e *Env) of(signed []byte) (*Env, error) {
	device, err := e.Hub.Device(e.device, signed)
	if err != nil || device == e.device {
		return e, err
	}
	x := *e
	x.device, x.cert = device, nil // it joins and recovers nothing
	return &x, nil
}

// Close frees what the threads used; they are closed before.
func (e *Env) Close() { e.sealer.Close() }

// self returns the device's key, by which members know it.
func (e *Env) self() keys.PublicKey { return e.device.Public().Sign }
