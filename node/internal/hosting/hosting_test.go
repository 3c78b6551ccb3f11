package hosting

import (
	"errors"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
)

// A master key is made when it is first needed, and never in the place of one that was there.
func TestMasterKey(t *testing.T) {
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	var key keys.Secret
	master := func(may bool) (keys.Secret, bool, error) {
		if key.Len() == 0 && may {
			key = keys.NewSecret()
		}
		return key, key.Len() > 0, nil
	}
	id := keys.NewIdentity()
	table := In(s, "wh/", master)
	if d, err := table.Device(id.Public(), 1); d != nil || err != nil || key.Len() > 0 {
		t.Errorf("got %v, %v: a node that hosts nothing has a device, or made a key", d, err)
	}
	offered, generation, err := table.Offer(id.Public())
	if err != nil {
		t.Fatal(err)
	}
	if d, err := In(s, "wh/", master).Device(id.Public(), generation); err != nil || d.Public() != offered {
		t.Errorf("another device after a restart: %v", err)
	}
	d, err := id.Delegate(offered, keys.DelegateOptions{Rights: keys.RightCreate, Generation: generation, Issued: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.InForce(id.Public()); !errors.Is(err, ErrNoDelegation) {
		t.Errorf("before the delegation: %v", err)
	}
	if err := table.Delegate(id.Public(), b, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got, err := table.InForce(id.Public()); err != nil || *got != *d {
		t.Errorf("got %v, %v", got, err)
	}
	for n := range len(b) {
		c := append([]byte(nil), b...)
		if c[n]++; table.Delegate(id.Public(), c, time.Now()) == nil {
			t.Errorf("a delegation that is altered at %d is taken", n)
		}
	}
	key = keys.Secret{}
	lost := In(s, "wh/", master)
	if _, _, err := lost.Offer(id.Public()); !fault.Is(err, fault.Corrupt) || key.Len() > 0 {
		t.Errorf("the key is gone, and what is offered: %v", err)
	}
}

// Spaces are counted for their account, those of before too, and each once.
func TestSpacesAreBounded(t *testing.T) {
	s, err := engines.OpenMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	a, b := keys.NewIdentity().Public(), keys.NewIdentity().Public()
	table := In(s, "wh/", nil)
	for _, x := range []string{"one", "two", "one"} {
		if err := table.Begin(x, a, b, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	again := In(s, "wh/", nil)
	if err := again.Begin("three", b, a, time.Now()); err != nil || again.spaces[a] != 2 || again.spaces[b] != 1 {
		t.Errorf("got %v, %v", again.spaces, err)
	}
	again.spaces[a] = MaxSpaces
	if err := again.Begin("four", a, b, time.Now()); !fault.Is(err, fault.QuotaExceeded) {
		t.Errorf("got %v", err)
	}
	if err := again.Begin("one", a, b, time.Now()); err != nil {
		t.Errorf("one that is there: %v", err)
	}
}
