package format

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
)

const (
	domainBlob  = "weft/1/blob"
	blobVersion = 1
	// BlobHead is the bytes before the sealed ones: version, suite, epoch, salt.
	BlobHead = 1 + 1 + 32 + 32
	// MaxSealedBlob bounds a sealed blob, in bytes.
	MaxSealedBlob = BlobHead + MaxBlob + chacha20poly1305.Overhead
)

// A BlobID names a blob: the SHA-256 hash of its sealed bytes.
type BlobID [32]byte

// String returns the ID in lower-case hexadecimal.
func (id BlobID) String() string { return hex.EncodeToString(id[:]) }

// blobKey derives the key of the blobs of a thread and epoch, or several by their name.
func blobKey(read SecretKey, thread ThreadID, epoch clock.Hash, salt []byte, purpose string) ([]byte, error) {
	k, err := hkdf.Key(sha256.New, read[:], salt, domainBlob+purpose+"\x00"+string(thread[:])+string(epoch[:]), 32)
	if err != nil {
		return nil, fmt.Errorf("hkdf: %w", err)
	}
	return k, nil
}

// SealBlob seals deterministically: equal plaintexts give equal blobs in a thread
// and epoch, so that what is stored twice is kept once, and whoever sees the
// sealed bytes learns that they are equal.
//
//	blob = version 1 ‖ suite 1 ‖ epoch bytes32 ‖ salt bytes32 ‖ ChaCha20-Poly1305(key, nonce 0, plain)
//	salt = HMAC-SHA256(HKDF(read key, "weft/1/blob/salt" …), plain)
//	key  = HKDF(read key, salt, "weft/1/blob/key" …)
func SealBlob(k *Keys, thread ThreadID, plain []byte) ([]byte, error) {
	if len(plain) > MaxBlob {
		return nil, fault.Of(ErrTooLarge, "blob of %d bytes, at most %d", len(plain), MaxBlob)
	}
	read, ok := k.Read(k.Epochs)
	if !ok {
		return nil, fault.Of(ErrWrongKey, "the key of the present epoch is not held")
	}
	epoch := EpochsName(thread, k.Epochs)
	salt, err := blobSalt(read, thread, epoch, plain)
	if err != nil {
		return nil, err
	}
	aead, err := blobAEAD(read, thread, epoch, salt)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, BlobHead+len(plain)+chacha20poly1305.Overhead)
	b = append(append(append(b, blobVersion, byte(thisSuite)), epoch[:]...), salt...)
	return aead.Seal(b, make([]byte, chacha20poly1305.NonceSize), plain, nil), nil
}

// blobSalt is a keyed hash of the plaintext: outsiders cannot test a guess.
func blobSalt(read SecretKey, thread ThreadID, epoch clock.Hash, plain []byte) ([]byte, error) {
	mk, err := blobKey(read, thread, epoch, nil, "/salt")
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, mk)
	mac.Write(plain)
	return mac.Sum(nil), nil
}

// blobAEAD returns the cipher of one blob; its key is used for one plaintext only, so
// that the nonce may be zero.
func blobAEAD(read SecretKey, thread ThreadID, epoch clock.Hash, salt []byte) (cipher.AEAD, error) {
	key, err := blobKey(read, thread, epoch, salt, "/key")
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, fmt.Errorf("chacha20poly1305: %w", err)
	}
	return aead, nil
}

// OpenBlob opens what [SealBlob] sealed. The salt, made from the plaintext, also
// commits to the key.
func OpenBlob(k *Keys, thread ThreadID, sealed []byte) ([]byte, error) {
	plain, read, err := openBlob(k, thread, sealed, nil)
	if err != nil {
		return nil, err
	}
	want, err := blobSalt(read, thread, clock.Hash(sealed[2:34]), plain)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(want, sealed[34:BlobHead]) != 1 {
		return nil, fault.Of(ErrWrongKey, "the blob is sealed with another key")
	}
	return plain, nil
}

// OpenBlobOf opens a blob, in its place, whose plaintext has a known SHA-256
// hash: that decides alone, in one pass over the bytes. Any other is [ErrSealed].
func OpenBlobOf(k *Keys, thread ThreadID, sealed []byte, sum [32]byte) ([]byte, error) {
	plain, _, err := openBlob(k, thread, sealed, sealed[min(BlobHead, len(sealed)):][:0])
	if err == nil && sha256.Sum256(plain) != sum {
		err = fault.Of(ErrSealed, "the blob has other bytes than it should")
	}
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// openBlob opens a blob into dst with a key that nothing has checked yet, which it returns.
func openBlob(k *Keys, thread ThreadID, sealed, dst []byte) (plain []byte, read SecretKey, err error) {
	fail := func(err error) ([]byte, SecretKey, error) { return nil, SecretKey{}, err }
	if len(sealed) < BlobHead+chacha20poly1305.Overhead || len(sealed) > MaxSealedBlob {
		return fail(fault.Of(ErrMalformed, "blob of %d bytes", len(sealed)))
	}
	if sealed[0] != blobVersion {
		return fail(fault.Of(ErrVersion, "blob version %d is unknown to this release", sealed[0]))
	}
	if err := codec.CheckSuite(canonical.Suite(sealed[1]), "blob"); err != nil {
		return fail(err)
	}
	epoch := clock.Hash(sealed[2:34])
	read, ok := k.named(epoch)
	if !ok {
		return fail(fault.Of(ErrWrongKey, "blob of an epoch whose key is not held"))
	}
	aead, err := blobAEAD(read, thread, epoch, sealed[34:BlobHead])
	if err != nil {
		return fail(err)
	}
	plain, err = aead.Open(dst, make([]byte, chacha20poly1305.NonceSize), sealed[BlobHead:], nil)
	if err != nil {
		return fail(fault.Of(ErrSealed, "the blob is altered"))
	}
	return plain, read, nil
}

// BlobIDOf returns the name of a sealed blob, which anybody can check.
func BlobIDOf(sealed []byte) BlobID { return sha256.Sum256(sealed) }
