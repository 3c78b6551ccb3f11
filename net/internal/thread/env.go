package thread

import (
	"log/slog"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A threadEnv is what the threads of one host share.
type Env struct {
	store  store.Store
	device *keys.Device
	cert   *keys.Certificate // of the device; a relay that joins nothing needs none
	clock  *clock.Clock
	sealer *format.Sealer
	dir    string // of blob files
	log    *slog.Logger
}

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

func (e *Env) Close() { e.sealer.Close() }

func (e *Env) self() keys.PublicKey { return e.device.Public().Sign }
