package main

import (
	"strings"
	"testing"
)

// The address to copy is one that others reach, if there is one.
func TestAddress(t *testing.T) {
	for want, all := range map[string][]string{
		"/ip4/192.168.0.5/tcp/4600": {"/ip4/127.0.0.1/tcp/4600", "/ip4/192.168.0.5/udp/4600/quic-v1", "/ip4/192.168.0.5/tcp/4600", "/ip6/fd00::2/tcp/4600"},
		"/ip4/8.8.8.8/tcp/4600":     {"/ip4/192.168.0.5/tcp/4600", "/ip4/8.8.8.8/tcp/4600", "/ip6/::1/tcp/4600"},
		"/ip4/127.0.0.1/tcp/1":      {"/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/1"},
		"":                          nil,
	} {
		if got := (readyOutput{P2P: all}).address(); got != want {
			t.Errorf("of %q: got %q, want %q", all, got, want)
		}
	}
	outside := readyOutput{P2P: []string{"/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.5/tcp/1"}}
	inside := readyOutput{P2P: []string{"/ip4/127.0.0.1/tcp/1"}}
	for got, flag := range map[string]string{
		outside.reach(daemonOptions{mdns: true}): "--local", outside.reach(daemonOptions{}): "--local", inside.reach(daemonOptions{mdns: true}): "--mdns=false",
	} {
		if !strings.Contains(got, flag) {
			t.Errorf("%q does not name %s", got, flag)
		}
	}
	if got := inside.reach(daemonOptions{}); !strings.Contains(got, "only this machine") || strings.Contains(got, "--local") {
		t.Errorf("got %q", got)
	}
}

// A daemon listens where it was told to.
func TestListen(t *testing.T) {
	o := daemonOptions{mdns: true, local: true}
	at, err := o.listen()
	if err != nil || o.mdns || len(at) != 2 {
		t.Errorf("got %v, %v, announcing %v", at, err, o.mdns)
	}
	for _, m := range at {
		if !strings.HasPrefix(m, "/ip4/127.0.0.1/") {
			t.Errorf("listens at %s", m)
		}
	}
	o.p2p = []string{"/ip4/127.0.0.1/tcp/0"}
	if _, err := o.listen(); err == nil {
		t.Error("--local and --p2p are taken together")
	}
}
