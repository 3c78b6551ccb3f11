// Package homedir is a node's data folder, its home, as it is on the disk: which files it has,
// whose it is and in which version, who has it open, and what of it goes into a backup. What is
// in the files' formats is known to others: key files to package keys, the note to homenote, the
// store to its engine.
//
//	Open       lock, version, what a process that was killed left, an exchange of stores cut short
//	Self       identity, device and certificate, made in a new home; of a device's home the latter two
//	Request    makes a home that waits to be a device of an identity; Become makes it one
//	Announce   says where the daemon listens, Retract that none does
//	CloneStore and Swap are for who checks and repairs: a copy of the store, and its exchange
package homedir

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/addrs"
	"github.com/weftdb/weft/node/internal/homelock"
)

// version is the layout and the formats that this release writes and reads. Version 1
// had joins that did not name their invite's record, version 2 formats without a suite, version 3
// data logs that did not name their control log and records of one epoch, version 4 a genesis
// without a recovery key, and definitions that did not say what their authors had seen.
const version = 5

// Files and folders of a home.
const (
	fileVersion     = "VERSION"        // the layout's version, decimal
	fileLock        = "LOCK"           // held by the process that has the home open
	fileIdentity    = "identity.key"   // key file of the identity
	fileDevice      = "device.key"     // key file of the device
	fileCertificate = "device.cert"    // the identity's certificate of the device
	fileOf          = "identity.did"   // instead of identity.key: whose device this is
	fileRequest     = "device.request" // what a home asks for that waits to be a device of an identity
	fileHub         = "hub.key"        // key file of a hub's master key, of which its devices are derived
	fileToken       = "api.token"      // the administrator's token, 0600
	FileNote        = "databases.note" // the home's own note of its databases
	FileCheck       = "check.json"     // what the last check of the home found
	fileDaemon      = "daemon.json"    // where the running daemon listens
	DirStore        = "store"          // the ordered store
	DirBlobs        = "blobs"          // large blobs of threads
	dirRelays       = "relays"         // key files of relays' API key secrets
	dirTemp         = "tmp"            // what a check folds again, emptied at each start
)

// Reported by what reads or makes a home.
var (
	// ErrNewerHome reports a home that a newer release wrote.
	ErrNewerHome = fault.New(fault.NewerHome, "the home was written by a newer release")
	// ErrDamaged reports that what is stored is not what was written.
	ErrDamaged = fault.New(fault.Corrupt, "the database is damaged")
	// ErrExists reports a home that is somebody's, or a folder that is not empty.
	ErrExists = fault.New(fault.AlreadyExists, "already exists")
	// ErrNoRoom reports that the disk has no room for what was asked.
	ErrNoRoom = fault.New(fault.DiskFull, "the disk is full: free some space")
)

// A Home is a node's data folder, open and locked.
type Home struct {
	Fell int // process of the last daemon, if it did not end itself and no daemon has said so; 0

	dir  string
	lock *os.File
}

// Default returns WEFT_HOME or ~/.weft.
func Default() (string, error) {
	if dir := os.Getenv("WEFT_HOME"); dir != "" {
		return dir, nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("WEFT_HOME is not set and the user has no home folder: %w", err)
	}
	return filepath.Join(user, ".weft"), nil
}

// Open makes the folder if there is none, locks it, waiting at most wait
// for another process to let go of it, and checks its version.
func Open(ctx context.Context, dir string, wait time.Duration) (*Home, error) {
	if dir == "" {
		return nil, fault.Of(addrs.ErrInvalid, "Config.Home is empty: name the data folder")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("home: %w", noFolder(err))
	}
	if err := checkPrivate(dir); err != nil {
		return nil, err
	}
	lock, err := homelock.Wait(ctx, filepath.Join(dir, fileLock), wait)
	if errors.Is(err, homelock.ErrHeld) {
		return nil, fault.Of(homelock.ErrHeld, "another process has %s open", dir)
	}
	if err != nil {
		return nil, err
	}
	h := &Home{dir: dir, lock: lock}
	if err := errors.Join(h.checkVersion(), h.clean(), h.Swap().Finish()); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// noFolder says of an error of the system that a file is where a folder should be.
func noFolder(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok && errors.Is(err, syscall.ENOTDIR) {
		return fault.Errorf(fault.InvalidPath, "%s is a file, not a folder", p.Path)
	}
	return err
}

// checkPrivate refuses a folder that others may enter: it holds secrets.
func checkPrivate(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("home: %w", err)
	}
	if runtime.GOOS == "windows" || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("make home %s private: %w", dir, err)
	}
	return nil
}

// Dir returns the path of the folder.
func (h *Home) Dir() string { return h.dir }

// Path returns the path of a file or folder in the home.
func (h *Home) Path(elem ...string) string {
	return filepath.Join(append([]string{h.dir}, elem...)...)
}

// checkVersion writes the version of a new home and refuses another one.
func (h *Home) checkVersion() error {
	b, err := os.ReadFile(h.Path(fileVersion))
	if errors.Is(err, fs.ErrNotExist) {
		return durable.WriteFile(h.Path(fileVersion), []byte(strconv.Itoa(version)+"\n"))
	}
	if err != nil {
		return fmt.Errorf("home: %w: restore it from a backup", err)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || v < 1 {
		return fault.Of(addrs.ErrInvalid, "%s does not hold a version: restore it from a backup, or write %d into it if this release made the home", h.Path(fileVersion), version)
	}
	if v > version {
		return fault.Of(ErrNewerHome, "%s has version %d, this release reads up to %d: use a newer weft", h.dir, v, version)
	}
	if v < version {
		return fault.Errorf(fault.UnknownVersion, "%s has version %d, made by an older weft, whose formats this release does not read: export its databases with that weft, and import them into a new home", h.dir, v)
	}
	return nil
}

// clean removes what processes that were killed left.
func (h *Home) clean() error {
	if err := os.RemoveAll(h.Path(dirTemp)); err != nil {
		return fmt.Errorf("home: %w", err)
	}
	if d, err := readDaemon(h.dir); err == nil {
		h.Fell = d.PID
	}
	return h.Retract()
}

// Temp makes an empty folder that the caller removes.
func (h *Home) Temp() (string, error) {
	if err := os.MkdirAll(h.Path(dirTemp), 0o700); err != nil {
		return "", fmt.Errorf("home: %w", err)
	}
	return os.MkdirTemp(h.Path(dirTemp), "x")
}

// Close lets go of the home; doing so again changes nothing.
func (h *Home) Close() error {
	if h.lock == nil {
		return nil
	}
	err := h.lock.Close()
	h.lock = nil
	return err
}

// A Self is who the node is.
type Self struct {
	Identity    *keys.Identity // nil in a home that is only a device of it
	Device      *keys.Device
	Certificate *keys.Certificate
	Created     bool // one of its keys was made now
}

// Self reads the key files, making those of a new home.
func (h *Home) Self(passphrase []byte, now time.Time) (Self, error) {
	var s Self
	switch kind, err := h.kind(); {
	case err != nil:
		return s, err
	case kind == waiting:
		return s, fault.Of(addrs.ErrInvalid, "home %s waits to be a device of your identity: run weft device add with what weft init --device prints, in the home that has the identity, and here weft device accept with the reply", h.dir)
	case kind == ofDevice:
		return h.selfOfDevice(passphrase)
	}
	seed, made, err := h.key(fileIdentity, keys.FileIdentity, passphrase, func() keys.Secret {
		return keys.NewIdentity().Secret()
	})
	if err != nil {
		return s, err
	}
	if s.Identity, err = keys.IdentityOf(seed); err != nil {
		return s, fmt.Errorf("%s: %w", fileIdentity, err)
	}
	secret, madeDevice, err := h.key(fileDevice, keys.FileDevice, passphrase, func() keys.Secret {
		return keys.NewDevice().Secret()
	})
	if err != nil {
		return s, err
	}
	if s.Device, err = keys.DeviceOf(secret); err != nil {
		return s, fmt.Errorf("%s: %w", fileDevice, err)
	}
	s.Created = made || madeDevice
	s.Certificate, err = h.certificate(s, now)
	return s, err
}

// Unsealed reports whether the home has an identity that no passphrase seals.
func (h *Home) Unsealed() bool {
	name, kind := fileIdentity, keys.FileIdentity
	if is, _ := h.kind(); is != ofIdentity {
		name, kind = fileDevice, keys.FileDevice
	}
	_, err := keys.ReadKeyFile(h.Path(name), kind, nil)
	return err == nil
}

// key reads a key file, or makes it if the home has none. One that is there and cannot be
// read is an error and never made anew: it may be the only copy.
func (h *Home) key(name string, kind keys.FileKind, passphrase []byte, fresh func() keys.Secret) (keys.Secret, bool, error) {
	s, err := keys.ReadKeyFile(h.Path(name), kind, passphrase)
	if errors.Is(err, keys.ErrMalformed) || errors.Is(err, keys.ErrKind) {
		err = fmt.Errorf("%w: restore it from a backup", err)
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return s, false, err
	}
	for _, f := range []string{fileCertificate, FileNote, DirStore} {
		if _, err := os.Stat(h.Path(f)); err == nil {
			return s, false, fault.Of(ErrDamaged, "%s is missing, and the home is not new: restore it from a backup", h.Path(name))
		}
	}
	s = fresh()
	return s, true, keys.WriteKeyFile(h.Path(name), kind, s, passphrase)
}

// HubKey reads the master key of a hub. Where there is none, one is made if it may be; else ok is
// false.
func (h *Home) HubKey(passphrase []byte, may bool) (s keys.Secret, ok bool, err error) {
	s, err = keys.ReadKeyFile(h.Path(fileHub), keys.FileSecret, passphrase)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !may:
		return s, false, nil
	case errors.Is(err, fs.ErrNotExist):
		s = keys.NewSecret()
		return s, true, keys.WriteKeyFile(h.Path(fileHub), keys.FileSecret, s, passphrase)
	case err != nil:
		return s, false, fmt.Errorf("%w: restore it from a backup", err)
	}
	return s, true, nil
}

// certificate reads the device's certificate, or has the identity make it. It is also what
// tells that a key file was altered: other keys than it names are not used.
func (h *Home) certificate(s Self, now time.Time) (*keys.Certificate, error) {
	b, err := os.ReadFile(h.Path(fileCertificate))
	if err == nil {
		c, err := keys.DecodeCertificate(b)
		if err == nil {
			err = c.VerifySignature()
		}
		switch {
		case err == nil && c.Identity == s.Identity.Public() && c.Device() == s.Device.Public():
			return c, nil
		case err == nil:
			return nil, fault.Of(ErrDamaged, "%s and %s are not the keys that %s names: restore what was altered from a backup, or remove %s if the keys were changed on purpose",
				h.Path(fileIdentity), fileDevice, fileCertificate, fileCertificate)
		default:
			return nil, fault.Of(addrs.ErrInvalid, "%s: %w: remove it, and the identity makes it anew", h.Path(fileCertificate), err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: remove it, and the identity makes it anew", err)
	}
	c, err := s.Identity.Certify(s.Device.Public(), keys.CertifyOptions{Issued: now})
	if err != nil {
		return nil, err
	}
	if b, err = c.Encode(); err != nil {
		return nil, err
	}
	return c, durable.WriteFile(h.Path(fileCertificate), b)
}

// The administrator's token is so many random bytes, as 52 lower-case characters.
const tokenBytes = 32

var tokenText = base32.StdEncoding.WithPadding(base32.NoPadding)

// Token reads the administrator's token, making that of a new home.
func (h *Home) Token() (keys.Secret, error) {
	s, err := ReadToken(h.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	var b [tokenBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	text := strings.ToLower(tokenText.EncodeToString(b[:]))
	if err := durable.WriteFile(h.Path(fileToken), []byte(text+"\n")); err != nil {
		return keys.Secret{}, err
	}
	return keys.SecretOf([]byte(text))
}

// ReadToken returns the administrator's token of a home, which calls of its
// API carry as "Authorization: Bearer …". A token that others can read is
// refused.
func ReadToken(dir string) (keys.Secret, error) {
	path := filepath.Join(dir, fileToken)
	info, err := os.Stat(path)
	if err != nil {
		return keys.Secret{}, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return keys.Secret{}, fault.Of(keys.ErrFileMode, "%s can be read by others, its mode is %04o: run chmod 600 %[1]s", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return keys.Secret{}, fmt.Errorf("%w: make it readable, or remove it: the next start makes a new one", err)
	}
	text := bytes.TrimSpace(b)
	if len(text) != tokenText.EncodedLen(tokenBytes) { // or half of one would do
		return keys.Secret{}, fault.Of(addrs.ErrInvalid, "%s does not hold a token: remove it, and the next start makes a new one", path)
	}
	return keys.SecretOf(text)
}

// A Daemon says where the daemon of a home listens.
type Daemon struct {
	API string `json:"api"` // host:port
	PID int    `json:"pid"`
}

// ReadDaemon returns what the daemon of a home said of itself when it started;
// it may have been killed since. Without one the error is fs.ErrNotExist.
func ReadDaemon(dir string) (Daemon, error) {
	d, err := readDaemon(dir)
	if err == nil && d.API == "" {
		err = fs.ErrNotExist
	}
	return d, err
}

func readDaemon(dir string) (d Daemon, err error) {
	b, err := os.ReadFile(filepath.Join(dir, fileDaemon))
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fault.Of(addrs.ErrInvalid, "%s does not say where the daemon listens: start the daemon again", filepath.Join(dir, fileDaemon))
	}
	return d, nil
}

// Announce says where the daemon listens. It writes in place: the daemon of a home that was
// opened before needs no room on the disk to start.
func (h *Home) Announce(d Daemon) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return durable.Overwrite(h.Path(fileDaemon), fmt.Appendf(nil, "%-255s\n", b))
}

// Retract says that no daemon listens. Who reads it still has to see who holds the lock: a
// process that was killed retracts nothing. Its number stays until a daemon has told of it.
func (h *Home) Retract() error {
	err := h.Announce(Daemon{PID: h.Fell})
	if info, serr := os.Stat(h.Path(fileDaemon)); err != nil && serr == nil && info.IsDir() {
		return fmt.Errorf("%w: remove it", err)
	}
	if fault.NoRoom(err) {
		return nil // nothing was announced here
	}
	return err
}
