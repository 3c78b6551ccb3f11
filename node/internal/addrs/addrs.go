// Package addrs reads the addresses that a program or a person gives as text, and looks
// whether this machine can be reached at them.
package addrs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/weftdb/weft/internal/fault"
)

var (
	// ErrInvalid reports a configuration or an argument that cannot be.
	ErrInvalid = fault.New(fault.InvalidArgument, "invalid argument")
	// ErrInUse reports an address at which another process listens.
	ErrInUse = fault.New(fault.AddressInUse, "the address is in use by another process")
)

// Peer reads the address of a peer, a multiaddr that ends in /p2p/ and its ID.
func Peer(text string) (multiaddr.Multiaddr, peer.ID, error) {
	a, err := multiaddr.NewMultiaddr(text)
	var info *peer.AddrInfo
	if err == nil {
		info, err = peer.AddrInfoFromP2pAddr(a)
	}
	if err != nil {
		return nil, "", fault.Of(ErrInvalid, "invalid address %.120q: want a multiaddr that ends in /p2p/ and a peer ID, such as /ip4/192.0.2.7/tcp/4600/p2p/12D3Koo…", text)
	}
	return a, info.ID, nil
}

// Listen reads addresses to listen at, nil for none. It returns ErrInUse if another process
// listens at one of them, as libp2p would share a TCP port with it and each would get some
// of the other's peers; and ErrInvalid if the machine has none of them.
func Listen(ctx context.Context, texts []string) ([]multiaddr.Multiaddr, error) {
	var out []multiaddr.Multiaddr
	var failed []error
	for _, text := range texts {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return nil, fault.Of(ErrInvalid, "invalid p2p address %.120q: want a multiaddr such as /ip4/127.0.0.1/tcp/0", text)
		}
		out = append(out, a)
		err = try(ctx, a)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fault.Of(ErrInUse, "p2p address %s is in use by another process: choose another, such as --p2p /ip4/127.0.0.1/tcp/0", a)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", a, Cause(err)))
		}
	}
	if len(failed) > 0 && len(failed) == len(out) {
		return nil, fault.Of(ErrInvalid, "cannot listen at any p2p address: %v", errors.Join(failed...))
	}
	return out, nil
}

// Cause returns what the system says about an address that cannot be listened at, without the
// names of calls.
func Cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed.Err
	}
	return err
}

// try listens at an address for a moment.
func try(ctx context.Context, a multiaddr.Multiaddr) error {
	network, at, err := manet.DialArgs(a)
	if err != nil {
		return nil //nolint:nilerr // libp2p knows more kinds of addresses, and says what is wrong
	}
	var lc net.ListenConfig
	var c io.Closer
	if strings.HasPrefix(network, "udp") {
		c, err = lc.ListenPacket(ctx, network, at)
	} else {
		c, err = lc.Listen(ctx, network, at)
	}
	if err != nil {
		return err
	}
	return c.Close()
}
