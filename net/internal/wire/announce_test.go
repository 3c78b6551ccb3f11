package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/weftdb/weft/net/internal/format"
)

func topic(t testing.TB) Topic {
	t.Helper()
	of, err := TopicOf(bytes.Repeat([]byte{7}, 32), format.ThreadID{1})
	if err != nil {
		t.Fatal(err)
	}
	return of
}

// Names and sealed bytes are those of the protocol: they cannot change.
func TestAnnouncementVectors(t *testing.T) {
	id := bytes.Repeat([]byte{7}, 32)
	if got, want := TagOf(id, format.ThreadID{1}, "a", "bc"), "4b47f0b80525c3315206eefdd894f65f"; hex.EncodeToString(got[:]) != want || got != TagOf(id, format.ThreadID{1}, "bc", "a") {
		t.Errorf("tag %x, want %s", got, want)
	}
	of := topic(t)
	if want := "weft/1/1f1d30cacee4ae5df72b1b6eb4d55d1ae2dca59cf5186ecfbf7f15e24052e739"; of.Name != want || !IsTopic(of.Name) {
		t.Errorf("topic %s, want %s", of.Name, want)
	}
	for _, name := range []string{"", of.Name + "0", of.Name[:len(of.Name)-1], "x" + of.Name[1:]} {
		if IsTopic(name) {
			t.Errorf("%q is taken for a topic", name)
		}
	}
	sealed, _ := hex.DecodeString("0000000000000000000000006ee08e3f1e38e2d60f450aaae3ab544a44a9d0abaa831f295c769f41222692136689a7c53edef6c452b883e3d507d249ac83219592e5d91eaa8c7951910108dfec9ae7481c10661c4e05a9a5141ccd4cac757f1422b74d790e")
	a, err := of.Open(sealed)
	if err != nil || !bytes.Equal(a.Peer, id) || !bytes.Equal(a.Digest, id) || len(a.Addrs) != 1 {
		t.Errorf("got %+v, %v", a, err)
	}
}

func TestAnnouncementBounds(t *testing.T) {
	of, digest := topic(t), make([]byte, 32)
	good := Announcement{Peer: []byte{1}, Digest: digest, Addrs: make([][]byte, MaxAnnouncedAt)}
	sealed := of.Seal(good)
	if _, err := of.Open(sealed); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(sealed, of.Seal(good)) {
		t.Error("two announcements are sealed with one nonce")
	}
	changed := bytes.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for name, in := range map[string][]byte{
		"nothing": nil, "changed": changed, "cut": sealed[:20],
		"long":           make([]byte, maxAnnouncement+1),
		"short digest":   of.Seal(Announcement{Digest: digest[1:]}),
		"many addresses": of.Seal(Announcement{Digest: digest, Addrs: make([][]byte, MaxAnnouncedAt+1)}),
	} {
		if _, err := of.Open(in); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: got %v, want ErrFrame", name, err)
		}
	}
}
