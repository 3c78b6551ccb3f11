package rpc

import (
	"context"

	"connectrpc.com/connect"
	"github.com/multiformats/go-multiaddr"

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
		return nil, fault.Of(node.ErrInvalid, "invalid relay address %.120q: want a multiaddr: %v", r.Msg.GetAddr(), err)
	}
	relay, err := s.n.AddRelay(ctx, addr, node.RelayOptions{Key: r.Msg.GetKey(), Secret: r.Msg.GetSecret(), Databases: r.Msg.GetDatabases()})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.AddRelayResponse{Relay: relayMessage(relay)}), nil
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
