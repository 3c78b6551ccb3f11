package net

import (
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/net/internal/stack"
	"github.com/weftdb/weft/net/internal/strangers"
)

// Protocols of this package.
const (
	protoThread  protocol.ID = "/weft/thread/1"  // records: subscribe, runs, acks; between hosts of which one does not know the other
	protoSession protocol.ID = "/weft/session/1" // records and blobs of all threads, between hosts that know each other
	protoHello   protocol.ID = "/weft/hello/1"   // tags of the threads of a host
	protoHost    protocol.ID = "/weft/host/1"    // requests to a relay to keep threads
)

// newLibp2p starts a host within bounds; one that is alone speaks with nobody.
func newLibp2p(key crypto.PrivKey, listen []multiaddr.Multiaddr, bounds stack.Limits, alone bool) (host.Host, network.ResourceManager, error) {
	return stack.New(stack.Options{
		Key: key, Listen: listen, Alone: alone, Limiter: bounds.Limiter(strangers.Streams), PerAddress: bounds.PerAddress(), Conns: bounds.Conns,
	})
}

// fullAddrs returns the addresses of h, each with its peer ID.
func fullAddrs(h host.Host) []multiaddr.Multiaddr {
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()})
	if err != nil {
		return nil
	}
	return addrs
}
