//go:build unix

package main

import (
	"context"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// stranger connects to a device and floods every protocol that it serves with
// bytes that mean nothing, and with as many streams as it is given.
func (h *history) stranger(d *device) error {
	if !d.reaches() {
		return nil
	}
	addr, err := multiaddr.NewMultiaddr(d.addr)
	if err != nil {
		return err
	}
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return err
	}
	host, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		return err
	}
	defer host.Close()
	ctx, cancel := context.WithTimeout(h.ctx, 5*time.Second)
	defer cancel()
	if err := host.Connect(ctx, *info); err != nil {
		return nil //nolint:nilerr // it may refuse strangers
	}
	protocols, err := host.Peerstore().GetProtocols(info.ID)
	if err != nil {
		return err
	}
	garbage := make([]byte, 64<<10)
	for i := range garbage {
		garbage[i] = byte(h.rnd.Uint32())
	}
	for _, p := range protocols {
		for range 8 {
			s, err := host.NewStream(ctx, info.ID, p)
			if err != nil {
				break
			}
			_ = s.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = s.Write(garbage)
		}
	}
	return nil
}
