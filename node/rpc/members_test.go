package rpc

import (
	"strings"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

// An invite and a join are named by what begins one of their names and no other's.
func TestNames(t *testing.T) {
	device := keys.NewDevice().Public().Sign
	a, b := keys.NewIdentity().Public(), keys.NewIdentity().Public()
	invites := []node.InviteInfo{{Key: a}, {Key: a}, {Key: b}} // one key was published twice
	joins := []node.WaitingJoin{
		{Join: clock.Hash{1, 2, 3, 4}, Device: device},
		{Join: clock.Hash{1, 2, 3, 5}, Device: keys.NewDevice().Public().Sign},
	}
	for _, c := range []struct {
		text string
		join int
		kind fault.Kind
	}{
		{text: joins[0].Join.String()},
		{text: "01020304"},
		{text: "01020305", join: 1},
		{text: node.PeerOf(device)},
		{text: "010203", kind: fault.Ambiguous},
		{text: "01020", kind: fault.InvalidArgument},
		{text: "", kind: fault.InvalidArgument},
		{text: "12D3Koo", kind: fault.Ambiguous},
		{text: "01020306", kind: fault.NotFound},
	} {
		w, err := findJoin(joins, c.text, "atlas")
		if c.kind == "" && (err != nil || w.Join != joins[c.join].Join) || c.kind != "" && !fault.Is(err, c.kind) {
			t.Errorf("%q: got %v, %v", c.text, w.Join, err)
		}
	}
	for text, kind := range map[string]fault.Kind{
		a.DID(): "", strings.TrimPrefix(a.DID(), "did:key:"): "", a.DID()[:40]: "",
		"did:key:z6M": fault.InvalidArgument, "did:key:": fault.InvalidArgument, device.DID(): fault.NotFound, "weft:none": fault.Malformed,
	} {
		i, err := findInvite(invites, text, "atlas")
		if kind == "" && (err != nil || i.Key != a) || kind != "" && !fault.Is(err, kind) {
			t.Errorf("%q: got %v, %v", text, i.Key, err)
		}
	}
}

// An identity or a device is named by what begins its did:key or peer ID and no other's.
func TestSubjects(t *testing.T) {
	one, two, stranger := keys.NewIdentity().Public(), keys.NewIdentity().Public(), keys.NewIdentity().Public()
	phone, laptop, desk := keys.NewDevice().Public().Sign, keys.NewDevice().Public().Sign, keys.NewDevice().Public().Sign
	members := []node.Member{{Device: phone, Identity: one}, {Device: laptop, Identity: one}}
	waiting := []node.WaitingJoin{{Device: desk, Identity: two}, {Device: desk, Identity: two}} // it tried twice
	for text, want := range map[string]subject{
		one.DID():                             {one, one},
		strings.TrimPrefix(one.DID(), scheme): {one, one},
		one.DID()[:40]:                        {one, one},
		phone.DID():                           {phone, one},
		node.PeerOf(laptop):                   {laptop, one},
		node.PeerOf(laptop)[:40]:              {laptop, one},
		two.DID():                             {two, two},
		node.PeerOf(desk):                     {desk, two},
		stranger.DID():                        {stranger, stranger}, // the node knows whether it ever was one
	} {
		if got, err := findSubject(members, waiting, text, "atlas"); err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	for text, kind := range map[string]fault.Kind{
		"": fault.InvalidArgument, "did:key:z6M": fault.InvalidArgument, "12D3KooW": fault.Ambiguous,
		stranger.DID()[:40]: fault.NotFound, node.PeerOf(keys.NewDevice().Public().Sign): fault.NotFound, "nobody": fault.NotFound,
	} {
		if got, err := findSubject(members, waiting, text, "atlas"); !fault.Is(err, kind) {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
}

func TestInviteState(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	past, future := clock.At(now.Add(-time.Second)), clock.At(now.Add(time.Second))
	for want, i := range map[string]node.InviteInfo{
		"open":    {Uses: 2, Used: 1, Expires: future},
		"used up": {Uses: 2, Used: 2, Closed: true},
		"expired": {Expires: past},
		"revoked": {Closed: true, Expires: future},
		"closed":  {Closed: true, Expires: past},
	} {
		if got := inviteState(i, now); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
