package node_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

// A home that waits is nobody's until the reply to its own request makes it a device of the
// identity, which does not get the identity's key; a crash before the end leaves it waiting.
func TestDeviceHome(t *testing.T) {
	ctx := t.Context()
	old, err := node.Open(ctx, node.Config{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := old.CreateDatabase(ctx, "atlas"); err != nil {
		t.Fatal(err)
	}
	dir, pass := t.TempDir(), []byte("secret")
	o := node.DeviceOptions{Name: "phone", Passphrase: pass}
	request, err := node.RequestDevice(ctx, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := node.RequestDevice(ctx, dir, o); err != nil || again != request || !node.Waits(dir) {
		t.Errorf("got %q, %v, want the same request", again, err)
	}
	if _, err := node.Open(ctx, node.Config{Home: dir, Passphrase: pass}); !errors.Is(err, node.ErrInvalid) {
		t.Errorf("got %v of a home that waits, want ErrInvalid", err)
	}
	device, reply, changes, err := old.AddDevice(ctx, request, nil)
	if err != nil || len(changes) != 1 || changes[0].Database != "atlas" || changes[0].Err != nil {
		t.Fatalf("got %+v, %v", changes, err)
	}
	if _, _, err := old.AddKnownDevice(ctx, device, []string{"atlas"}); err != nil {
		t.Errorf("a device that is known needs a request: %v", err)
	}
	other := t.TempDir()
	if _, err := node.RequestDevice(ctx, other, node.DeviceOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := node.BecomeDevice(ctx, other, reply, node.DeviceOptions{}); err == nil || !node.Waits(other) {
		t.Errorf("got %v of another device's reply", err)
	}
	if err := node.BecomeDevice(ctx, dir, reply, node.DeviceOptions{Passphrase: []byte("wrong")}); !errors.Is(err, keys.ErrPassphraseWrong) || !node.Waits(dir) {
		t.Errorf("got %v with a wrong passphrase", err)
	}
	// As after a crash: the certificate is there, and the home still waits.
	if err := os.WriteFile(filepath.Join(dir, "device.cert"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := node.BecomeDevice(ctx, dir, reply, o); err != nil || node.Waits(dir) {
		t.Fatalf("got %v", err)
	}
	if err := node.BecomeDevice(ctx, dir, reply, o); err != nil { // it is one already
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "identity.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v of the identity's key, want none", err)
	}
	if _, err := node.RequestDevice(ctx, dir, o); !errors.Is(err, node.ErrExists) {
		t.Errorf("got %v of a request by a home that is a device's, want ErrExists", err)
	}
	phone, err := node.Open(ctx, node.Config{Home: dir, Passphrase: pass})
	if err != nil {
		t.Fatal(err)
	}
	if phone.Identity() != old.Identity() || phone.Device() != device {
		t.Errorf("got %s, device %s", phone.Identity(), phone.Device())
	}
	if changes, err := phone.AcceptDevice(ctx, reply); err != nil || len(changes) != 1 || changes[0].Err != nil {
		t.Errorf("got %+v, %v", changes, err)
	}
	if changes, err := phone.AcceptDevice(ctx, reply); err != nil || len(changes) != 1 || changes[0].Err != nil {
		t.Errorf("the second time: got %+v, %v", changes, err)
	}
	if all := phone.Devices(); len(all) != 2 || len(all[1].Databases) != 1 {
		t.Errorf("got %+v, want two devices", all)
	}
	if _, err := phone.Inbox(ctx); !errors.Is(err, node.ErrInvalid) {
		t.Errorf("got %v of mail without the identity's key, want ErrInvalid", err)
	}
	if err := phone.Close(); err != nil {
		t.Error(err)
	}
	// What was altered is named, and nothing is made in its place.
	did := filepath.Join(dir, "identity.did")
	good, err := os.ReadFile(did)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{"nothing": nil, "another identity": []byte(keys.NewIdentity().Public().DID() + "\n")} {
		if err := os.WriteFile(did, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := node.Open(ctx, node.Config{Home: dir, Passphrase: pass}); !errors.Is(err, node.ErrDamaged) {
			t.Errorf("identity.did names %s: got %v, want ErrDamaged", what, err)
		}
	}
	if err := os.WriteFile(did, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "device.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Open(ctx, node.Config{Home: dir, Passphrase: pass}); !errors.Is(err, node.ErrDamaged) {
		t.Errorf("without its key: got %v, want ErrDamaged", err)
	}
}
