package rpc

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// relayMessage does not have the secret, which stands in a key file of the home.
func relayMessage(r node.Relay) *weftv1.Relay {
	return &weftv1.Relay{
		Peer: r.Peer.String(), Addr: r.Addr.String(), Key: r.Key, Databases: r.Databases,
		Connected: r.Connected,
	}
}

// Add need not reach the relay; what the relay says to the key is in the status of each
// database. To add one again replaces its key, its secret and the list of databases, also
// by none.
func (s relayService) Add(ctx context.Context, r *connect.Request[weftv1.AddRelayRequest]) (*connect.Response[weftv1.AddRelayResponse], error) {
	addr, err := multiaddr.NewMultiaddr(r.Msg.GetAddr())
	if err != nil {
		return nil, fault.Of(node.ErrInvalid, "invalid address %.120q: want a multiaddr that ends in /p2p/ and a peer ID, such as /ip4/192.0.2.7/tcp/4600/p2p/12D3Koo…", r.Msg.GetAddr())
	}
	if err := s.checkRelay(ctx, addr); err != nil {
		return nil, err
	}
	relay, err := s.n.AddRelay(ctx, addr.String(), node.RelayOptions{Key: r.Msg.GetKey(), Secret: r.Msg.GetSecret(), Databases: r.Msg.GetDatabases()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.AddRelayResponse{Relay: relayMessage(relay)}), nil
}

// maxDial is how long a relay may take to answer at another address.
const maxDial = 10 * time.Second

// checkRelay refuses another address for a relay that the node has, if nothing answers
// there: a working entry would be lost to a mistyped one. Only TCP can be tried without a
// handshake. A relay that the node does not have need not be there yet.
func (s relayService) checkRelay(ctx context.Context, addr multiaddr.Multiaddr) error {
	info, err := peer.AddrInfoFromP2pAddr(addr)
	if err != nil {
		return nil //nolint:nilerr // AddRelay says what is wrong
	}
	relays, err := s.n.Relays()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(relays, func(r node.Relay) bool { return r.Peer == info.ID })
	if i < 0 || relays[i].Addr.Equal(addr) {
		return nil
	}
	to, _ := peer.SplitAddr(addr)
	if network, _, err := manet.DialArgs(to); err != nil || !strings.HasPrefix(network, "tcp") {
		return nil //nolint:nilerr // nothing to try
	}
	ctx, cancel := context.WithTimeout(ctx, maxDial)
	defer cancel()
	var d manet.Dialer
	c, err := d.DialContext(ctx, to)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		return fault.Errorf(fault.Unreachable, "nothing answers at %s, so the relay keeps its address %s: start it there first, or remove it with weft relay rm and add it again", addr, relays[i].Addr)
	}
	return nil
}

// List says of each relay whether it is connected now; whether it accepts a database is in
// that one's status.
func (s relayService) List(context.Context, *connect.Request[weftv1.ListRelaysRequest]) (*connect.Response[weftv1.ListRelaysResponse], error) {
	relays, err := s.n.Relays()
	if err != nil {
		return nil, err
	}
	var out weftv1.ListRelaysResponse
	for _, r := range relays {
		out.Relays = append(out.Relays, relayMessage(r))
	}
	return connect.NewResponse(&out), nil
}

// Remove takes the peer ID or the address, as they are listed. The relay keeps what it has.
func (s relayService) Remove(ctx context.Context, r *connect.Request[weftv1.RemoveRelayRequest]) (*connect.Response[weftv1.RemoveRelayResponse], error) {
	if err := s.n.RemoveRelay(ctx, r.Msg.GetRelay()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RemoveRelayResponse{}), nil
}
