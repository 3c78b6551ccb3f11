package net

import (
	"log/slog"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
)

// A threadEnv is what the threads of one host share.
type threadEnv struct {
	store  store.Store
	device *keys.Device
	cert   *keys.Certificate // of the device; a relay that joins nothing needs none
	clock  *clock.Clock
	codec  *codec
	dir    string // of blob files
	log    *slog.Logger
}

func newThreadEnv(s store.Store, dir string, device *keys.Device, cert *keys.Certificate, c *clock.Clock, log *slog.Logger) (*threadEnv, error) {
	if c == nil {
		c = &clock.Clock{}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	return &threadEnv{store: s, device: device, cert: cert, clock: c, codec: codec, dir: dir, log: log}, nil
}

func (e *threadEnv) close() { e.codec.close() }

func (e *threadEnv) self() keys.PublicKey { return e.device.Public().Sign }
