package net

import (
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// offline is a libp2p connection gater that lets nobody in or out.
type offline struct{}

func (offline) InterceptPeerDial(peer.ID) bool                      { return false }
func (offline) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return false }
func (offline) InterceptAccept(network.ConnMultiaddrs) bool         { return false }
func (offline) InterceptSecured(network.Direction, peer.ID, network.ConnMultiaddrs) bool {
	return false
}
func (offline) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return false, 0 }
