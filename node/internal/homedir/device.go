package homedir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/pairing"
)

// A home has the identity's key, or is only a device of it: then it certifies no other
// device and opens no mail, and who steals it has no more than that device.
//
//	weft init --device        device.key, device.request: it waits
//	weft device accept REPLY  device.cert, identity.did: it is a device's

// A homeKind says what keys a home has.
type homeKind int

const (
	ofIdentity homeKind = iota
	waiting
	ofDevice
)

// kind tells by its files what a home is. A crash while it becomes a device's leaves it
// waiting: identity.did is written last.
func (h *Home) kind() (homeKind, error) {
	there := func(name string) (bool, error) {
		_, err := os.Stat(h.Path(name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	of, err := there(fileOf)
	if err != nil || of {
		return ofDevice, err
	}
	waits, err := there(fileRequest)
	if err != nil || waits {
		return waiting, err
	}
	return ofIdentity, nil
}

// selfOfDevice reads who the node of a device's home is.
func (h *Home) selfOfDevice(passphrase []byte) (s Self, err error) {
	b, err := os.ReadFile(h.Path(fileOf))
	if err != nil {
		return s, fmt.Errorf("home: %w", err)
	}
	identity, err := keys.ParseDID(strings.TrimSpace(string(b)))
	if err != nil {
		return s, fault.Of(ErrDamaged, "%s does not name an identity: restore it from a backup", h.Path(fileOf))
	}
	secret, err := keys.ReadKeyFile(h.Path(fileDevice), keys.FileDevice, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fault.Of(ErrDamaged, "%s is missing, and the home is not new: restore it from a backup", h.Path(fileDevice))
	}
	if err != nil {
		return s, err
	}
	if s.Device, err = keys.DeviceOf(secret); err != nil {
		return s, fmt.Errorf("%s: %w", fileDevice, err)
	}
	if b, err = os.ReadFile(h.Path(fileCertificate)); err == nil {
		s.Certificate, err = keys.DecodeCertificate(b)
	}
	if err == nil {
		err = s.Certificate.VerifySignature()
	}
	if err != nil {
		return s, fault.Of(ErrDamaged, "%s cannot be used: %v: restore it from a backup", h.Path(fileCertificate), err)
	}
	if s.Certificate.Identity != identity || s.Certificate.Device() != s.Device.Public() {
		return s, fault.Of(ErrDamaged, "%s and %s are not the keys that %s names: restore what was altered from a backup", h.Path(fileOf), fileDevice, fileCertificate)
	}
	return s, nil
}

// DeviceOptions say how a home becomes a device's.
type DeviceOptions struct {
	Name       string        // of the device, for people; "" for none
	Passphrase []byte        // seals its key file; nil: it is not sealed
	LockWait   time.Duration // how long to wait for another process to close the home
}

// Request makes a home that waits to be a device of an identity which another home
// has, and returns its request, which is no secret: [pairing.Reply.Text] answers it. In a home
// that waits already it returns the same. [ErrExists] says that the home is somebody's.
func Request(ctx context.Context, dir string, o DeviceOptions) (request string, err error) {
	h, err := Open(ctx, dir, o.LockWait)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	kind, err := h.kind()
	if err != nil {
		return "", err
	}
	if kind == ofIdentity {
		if _, err := os.Stat(h.Path(fileIdentity)); err == nil {
			kind = ofDevice
		}
	}
	switch kind {
	case ofDevice:
		return "", fault.Of(ErrExists, "home %s has an identity already: make the device in another folder, with --home", dir)
	case waiting:
		b, err := os.ReadFile(h.Path(fileRequest))
		return strings.TrimSpace(string(b)), err
	}
	secret, _, err := h.key(fileDevice, keys.FileDevice, o.Passphrase, func() keys.Secret { return keys.NewDevice().Secret() })
	if err != nil {
		return "", err
	}
	d, err := keys.DeviceOf(secret)
	if err != nil {
		return "", fmt.Errorf("%s: %w", fileDevice, err)
	}
	if request, err = pairing.NewRequest(d, o.Name); err != nil {
		return "", err
	}
	return request, durable.WriteFile(h.Path(fileRequest), []byte(request+"\n"))
}

// Become makes a home that waits a device of the identity which wrote the reply; of any
// other home it does nothing.
func Become(ctx context.Context, dir, reply string, o DeviceOptions) (err error) {
	h, err := Open(ctx, dir, o.LockWait)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	kind, err := h.kind()
	if err != nil || kind != waiting {
		return err
	}
	secret, err := keys.ReadKeyFile(h.Path(fileDevice), keys.FileDevice, o.Passphrase)
	if err != nil {
		return err
	}
	d, err := keys.DeviceOf(secret)
	if err != nil {
		return fmt.Errorf("%s: %w", fileDevice, err)
	}
	r, err := pairing.OpenReply(reply, d)
	if err != nil {
		return err
	}
	cert, err := r.Certificate.Encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(h.Path(fileCertificate), cert); err != nil {
		return err
	}
	if err := durable.WriteFile(h.Path(fileOf), []byte(r.Certificate.Identity.DID()+"\n")); err != nil {
		return err
	}
	if err := os.Remove(h.Path(fileRequest)); err != nil {
		return fmt.Errorf("home: %w", err)
	}
	return nil
}

// Waits reports whether the home in a folder waits to be a device of an identity.
func Waits(dir string) bool {
	h := &Home{dir: dir}
	kind, err := h.kind()
	return err == nil && kind == waiting
}
