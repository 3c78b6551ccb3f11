package keys

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
)

// A FileKind says what a key file holds.
type FileKind string

// The kinds of key files.
const (
	FileIdentity FileKind = "identity" // an identity's seed
	FileDevice   FileKind = "device"   // a device's two private keys
	FileAPIKey   FileKind = "api-key"  // the text of an API key's secret
	FileSecret   FileKind = "secret"   // any other, such as an administrator's token
)

// MaxKeyFileSize bounds a key file, in bytes.
const MaxKeyFileSize = 4096

// A keyFile is one JSON object and a newline, written in exactly one way. It has
// either Secret, or KDF and Sealed: a nonce (24 bytes) and the secret sealed by
// XChaCha20-Poly1305 with the file's JSON, Sealed left out, as associated data.
type keyFile struct {
	Weft   int      `json:"weft"`
	Kind   FileKind `json:"kind"`
	Secret []byte   `json:"secret,omitempty"`
	KDF    *kdf     `json:"kdf,omitempty"`
	Sealed []byte   `json:"sealed,omitempty"`
}

// kdf is argon2id (RFC 9106) and its parameters.
type kdf struct {
	Name    string `json:"name"`
	Time    uint32 `json:"time"`    // passes, 1 to 10
	Memory  uint32 `json:"memory"`  // KiB, 8 MiB to 256 MiB
	Threads uint8  `json:"threads"` // lanes, 1 to 8
	Salt    []byte `json:"salt"`    // 16 bytes
}

const saltSize = 16

// newKDF gives the second recommended option of RFC 9106: 3 passes of 64 MiB.
func newKDF() *kdf {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	return &kdf{Name: "argon2id", Time: 3, Memory: 64 << 10, Threads: 4, Salt: salt}
}

func (k *kdf) check() error {
	if k.Name != "argon2id" {
		return fault.Of(ErrVersion, "the key file's key derivation %.20q is unknown to this release", k.Name)
	}
	if k.Time < 1 || k.Time > 10 || k.Memory < 8<<10 || k.Memory > 256<<10 ||
		k.Threads < 1 || k.Threads > 8 || len(k.Salt) != saltSize {
		return fault.Of(ErrMalformed, "the key file's key derivation parameters are out of range")
	}
	return nil
}

func (k *kdf) key(passphrase []byte) []byte {
	return argon2.IDKey(passphrase, k.Salt, k.Time, k.Memory, k.Threads, chacha20poly1305.KeySize)
}

// EncodeKeyFile returns the bytes of a key file, sealed by the passphrase unless
// that is empty.
func EncodeKeyFile(kind FileKind, s Secret, passphrase []byte) ([]byte, error) {
	f := keyFile{Weft: version, Kind: kind}
	if s.Len() == 0 {
		return nil, fault.Of(ErrInvalid, "a key file holds a secret")
	}
	if len(passphrase) == 0 {
		f.Secret = s.bytes()
		return f.encodeChecked()
	}
	f.KDF = newKDF()
	aad, err := f.encode()
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(f.KDF.key(passphrase))
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+s.Len()+aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	f.Sealed = aead.Seal(nonce, nonce, s.bytes(), aad)
	return f.encodeChecked()
}

// DecodeKeyFile decodes a key file of the given kind. It returns [ErrKind],
// [ErrPassphraseNeeded] or [ErrPassphraseWrong] where they apply. A passphrase
// given for a file that is not sealed is not used.
func DecodeKeyFile(b []byte, kind FileKind, passphrase []byte) (Secret, error) {
	f, err := decodeKeyFile(b)
	if err != nil {
		return Secret{}, err
	}
	if f.Kind != kind {
		return Secret{}, fault.Of(ErrKind, "the key file holds a key of kind %q, not %q", f.Kind, kind)
	}
	if f.KDF == nil {
		return SecretOf(f.Secret)
	}
	if len(passphrase) == 0 {
		return Secret{}, ErrPassphraseNeeded
	}
	aead, err := chacha20poly1305.NewX(f.KDF.key(passphrase))
	if err != nil {
		return Secret{}, fmt.Errorf("key file: %w", err)
	}
	nonce, sealed := f.Sealed[:aead.NonceSize()], f.Sealed[aead.NonceSize():]
	f.Sealed = nil
	aad, err := f.encode()
	if err != nil {
		return Secret{}, err
	}
	plain, err := aead.Open(nil, nonce, sealed, aad)
	if err != nil {
		return Secret{}, ErrPassphraseWrong
	}
	return SecretOf(plain)
}

func (f *keyFile) encode() ([]byte, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return append(b, '\n'), nil
}

func (f *keyFile) encodeChecked() ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, fault.Of(ErrInvalid, "%v", err)
	}
	return f.encode()
}

func (f *keyFile) check() error {
	if f.Weft != version {
		return fault.Of(ErrVersion, "the key file's version %d is unknown to this release", f.Weft)
	}
	switch f.Kind {
	case FileIdentity, FileDevice, FileAPIKey, FileSecret:
	default:
		return fault.Of(ErrMalformed, "the key file has an unknown kind %.20q", f.Kind)
	}
	if f.KDF == nil {
		if len(f.Secret) == 0 || len(f.Secret) > maxSecretSize || len(f.Sealed) != 0 {
			return fault.Of(ErrMalformed, "the key file has neither a secret nor a sealed one, or both")
		}
		return nil
	}
	const overhead = chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead
	if len(f.Secret) != 0 || len(f.Sealed) <= overhead || len(f.Sealed) > overhead+maxSecretSize {
		return fault.Of(ErrMalformed, "the key file has a sealed secret of %d bytes", len(f.Sealed))
	}
	return f.KDF.check()
}

// decodeKeyFile accepts exactly what encode gives. Its errors repeat none of b.
func decodeKeyFile(b []byte) (*keyFile, error) {
	if len(b) > MaxKeyFileSize {
		return nil, fault.Of(ErrTooLarge, "the key file has more than %d bytes", MaxKeyFileSize)
	}
	var f keyFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fault.Of(ErrMalformed, "the file is not a key file")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	again, err := f.encode()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, b) {
		return nil, fault.Of(ErrMalformed, "the key file was edited: it is not as it was written")
	}
	return &f, nil
}

// WriteKeyFile writes a new key file with mode 0600, whole or not at all, and
// synced. It returns an error that is fs.ErrExist if the path exists: a key is not
// overwritten unawares. Two writers of one path must exclude each other.
func WriteKeyFile(path string, kind FileKind, s Secret, passphrase []byte) error {
	_, err := os.Lstat(path)
	if err == nil {
		return &fs.PathError{Op: "write key file", Path: path, Err: fs.ErrExist}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write key file: %w", err)
	}
	return ReplaceKeyFile(path, kind, s, passphrase)
}

// ReplaceKeyFile is [WriteKeyFile] for a path that may exist, as when the
// passphrase changes.
func ReplaceKeyFile(path string, kind FileKind, s Secret, passphrase []byte) error {
	b, err := EncodeKeyFile(kind, s, passphrase)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, b); err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	return nil
}

// ReadKeyFile reads a key file of the given kind. A file that its group or others
// can read returns [ErrFileMode]; for the rest see [DecodeKeyFile].
func ReadKeyFile(path string, kind FileKind, passphrase []byte) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read key file: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()            // of the open file: the path may change under us
	if err != nil {
		return Secret{}, fmt.Errorf("read key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return Secret{}, fault.Of(ErrMalformed, "%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return Secret{}, fault.Of(ErrFileMode, "%s can be read by others, its mode is %04o: run chmod 600 %[1]s", path, mode)
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxKeyFileSize+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read key file: %w", err)
	}
	s, err := DecodeKeyFile(b, kind, passphrase)
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}
