package main

import (
	"context"
	"strings"
	"time"

	"github.com/weftdb/weft/node"
)

// lookAtPeers is how often a daemon looks whether a peer came or went.
const lookAtPeers = 2 * time.Second

// tellPeers says which peers come and go, until ctx ends.
func tellPeers(ctx context.Context, n *node.Node) {
	tick := time.NewTicker(lookAtPeers)
	defer tick.Stop()
	known := map[string]string{}
	for {
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
		case <-tick.C:
		}
	}
}
