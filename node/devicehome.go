package node

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
	homeOfIdentity homeKind = iota
	homeWaits
	homeOfDevice
)

// kind tells by its files what a home is. A crash while it becomes a device's leaves it
// waiting: identity.did is written last.
func (h *home) kind() (homeKind, error) {
	there := func(name string) (bool, error) {
		_, err := os.Stat(h.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	of, err := there(fileOf)
	if err != nil || of {
		return homeOfDevice, err
	}
	waits, err := there(fileRequest)
	if err != nil || waits {
		return homeWaits, err
	}
	return homeOfIdentity, nil
}

// selfOfDevice reads who the node of a device's home is.
func (h *home) selfOfDevice(passphrase []byte) (s self, err error) {
	b, err := os.ReadFile(h.path(fileOf))
	if err != nil {
		return s, fmt.Errorf("home: %w", err)
	}
	identity, err := keys.ParseDID(strings.TrimSpace(string(b)))
	if err != nil {
		return s, fault.Of(ErrDamaged, "%s does not name an identity: restore it from a backup", h.path(fileOf))
	}
	secret, err := keys.ReadKeyFile(h.path(fileDevice), keys.FileDevice, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fault.Of(ErrDamaged, "%s is missing, and the home is not new: restore it from a backup", h.path(fileDevice))
	}
	if err != nil {
		return s, err
	}
	if s.device, err = keys.DeviceOf(secret); err != nil {
		return s, fmt.Errorf("%s: %w", fileDevice, err)
	}
	if b, err = os.ReadFile(h.path(fileCertificate)); err == nil {
		s.cert, err = keys.DecodeCertificate(b)
	}
	if err == nil {
		err = s.cert.VerifySignature()
	}
	if err != nil {
		return s, fault.Of(ErrDamaged, "%s cannot be used: %v: restore it from a backup", h.path(fileCertificate), err)
	}
	if s.cert.Identity != identity || s.cert.Device() != s.device.Public() {
		return s, fault.Of(ErrDamaged, "%s and %s are not the keys that %s names: restore what was altered from a backup", h.path(fileOf), fileDevice, fileCertificate)
	}
	return s, nil
}

// DeviceOptions say how a home becomes a device's.
type DeviceOptions struct {
	Name       string        // of the device, for people; "" for none
	Passphrase []byte        // seals its key file; nil: it is not sealed
	LockWait   time.Duration // how long to wait for another process to close the home
}

// RequestDevice makes a home that waits to be a device of an identity which another home
// has, and returns its request, which is no secret: [Node.AddDevice] answers it. In a home
// that waits already it returns the same. [ErrExists] says that the home is somebody's.
func RequestDevice(ctx context.Context, dir string, o DeviceOptions) (request string, err error) {
	h, err := openHome(ctx, dir, o.LockWait)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	kind, err := h.kind()
	if err != nil {
		return "", err
	}
	if kind == homeOfIdentity {
		if _, err := os.Stat(h.path(fileIdentity)); err == nil {
			kind = homeOfDevice
		}
	}
	switch kind {
	case homeOfDevice:
		return "", fault.Of(ErrExists, "home %s has an identity already: make the device in another folder, with --home", dir)
	case homeWaits:
		b, err := os.ReadFile(h.path(fileRequest))
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
	return request, durable.WriteFile(h.path(fileRequest), []byte(request+"\n"))
}

// BecomeDevice makes a home that waits a device of the identity which wrote the reply; of any
// other home it does nothing. [Node.AcceptDevice] then takes the databases of the reply.
func BecomeDevice(ctx context.Context, dir, reply string, o DeviceOptions) (err error) {
	h, err := openHome(ctx, dir, o.LockWait)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	kind, err := h.kind()
	if err != nil || kind != homeWaits {
		return err
	}
	secret, err := keys.ReadKeyFile(h.path(fileDevice), keys.FileDevice, o.Passphrase)
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
	if err := durable.WriteFile(h.path(fileCertificate), cert); err != nil {
		return err
	}
	if err := durable.WriteFile(h.path(fileOf), []byte(r.Certificate.Identity.DID()+"\n")); err != nil {
		return err
	}
	if err := os.Remove(h.path(fileRequest)); err != nil {
		return fmt.Errorf("home: %w", err)
	}
	return nil
}

// Waits reports whether the home in a folder waits to be a device of an identity.
func Waits(dir string) bool {
	h := &home{dir: dir}
	kind, err := h.kind()
	return err == nil && kind == homeWaits
}
