package main

import (
	"context"
	"strings"
	"time"

	"github.com/weftdb/weft/node"
)

// restPeers is how long a daemon rests after it told which peers came and went: who comes
// and goes all the time fills no log.
const restPeers = time.Second

// tellPeers says which peers come and go, until ctx ends.
func tellPeers(ctx context.Context, n *node.Node) {
	known := map[string]string{}
	for {
		changed := n.PeersChanged()
		now := map[string]string{}
		for _, p := range n.Peers() {
			now[p.ID.String()] = strings.Join(p.Addrs, " ")
		}
		for id, addrs := range now {
			if _, ok := known[id]; !ok {
				n.Log().Info("peer connected", "peer", id, "address", addrs)
			}
		}
		for id := range known {
			if _, ok := now[id]; !ok {
				n.Log().Info("peer disconnected", "peer", id)
			}
		}
		known = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(restPeers):
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
