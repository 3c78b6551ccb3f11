package net_test

import (
	"context"
	"fmt"
	stdnet "net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/weftdb/weft/net"
)

// Why a peer is not reached is said in words of ours, of the first address that failed.
func TestDialReason(t *testing.T) {
	refused := &stdnet.OpError{Op: "dial", Net: "tcp4", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for want, err := range map[string]error{
		"connection refused": &swarm.DialError{DialErrors: []swarm.TransportError{{Cause: refused}, {Cause: context.DeadlineExceeded}}},
		"did not answer":     fmt.Errorf("failed to dial: %w", &swarm.DialError{Cause: swarm.ErrDialBackoff, DialErrors: []swarm.TransportError{{Cause: swarm.ErrDialBackoff}}}),
		"no answer in time":  fmt.Errorf("failed to dial: %w", context.DeadlineExceeded),
		"no address of it":   &swarm.DialError{Cause: swarm.ErrNoAddresses},
		"none of its":        &swarm.DialError{Cause: swarm.ErrNoGoodAddresses},
	} {
		got := net.DialReason(err)
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, theirs := range []string{"dial", "backoff", "deadline", "tcp4"} {
			if strings.Contains(got, theirs) {
				t.Errorf("%q has %q", got, theirs)
			}
		}
	}
}
