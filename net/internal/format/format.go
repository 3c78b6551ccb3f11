// Package format is what threads are made of, as bytes and as values, and nothing
// else: it holds no state, reads no store and knows no peer.
//
//	Genesis ─ Keys              what a thread begins with; its ID is the hash of the signed bytes
//	Descriptor                  whose log it is; its hash is the log's ID
//	Header ─ Body ─ Plaintext   one record: what is hashed and signed, what is sealed, what is in it
//	Run                         consecutive records of a log under one signature, as sent
//	Control ─ Checkpoint ─ Role what a control record says
//	Invite, Recovery            what lets a device join, or own the thread anew, and their texts
//	SealBlob, OpenBlob          sealed blocks, named by the hash of the sealed bytes
//
// Every Decode takes exactly what its Encode gives: it bounds sizes before it
// allocates, encodes again and compares. The bytes are those of docs/design.md,
// and testdata/vectors/thread.json holds one of each: they never change. The package
// builds for a browser.
package format

import (
	"crypto/sha256"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/clock"
)

// Maxima of the format in bytes (docs/design.md). They are protocol constants:
// a record that one device may write, every device must take.
const (
	MaxHeader  = 1 << 10
	MaxPlain   = 1 << 20           // of a record, before compression
	MaxPiece   = 64 << 10          // of a piece, before compression
	MaxPayload = MaxPlain - 64<<10 // leaves room for what later versions add
	MaxBlob    = 1 << 20           // of a blob's plaintext
	MaxFrame   = 4 << 20
)

// Domain strings of what is hashed and signed here: no signature or hash of one
// kind of thing can pass for that of another.
const (
	domainGenesis   = "weft/1/genesis"
	domainThread    = "weft/1/thread"
	domainKeyCommit = "weft/1/key-commit"
	domainLog       = "weft/1/log"
	domainRecord    = "weft/1/record"
	DomainHead      = "weft/1/head"
	domainBody      = "weft/1/body"
	domainSeal      = "weft/1/seal"
	domainSalt      = "weft/1/salt"
	DomainJoin      = "weft/1/join"
	domainRecover   = "weft/1/recover"
	domainRecovery  = "weft/1/recovery"
	domainInvite    = "weft/1/invite"
	domainState     = "weft/1/state"
	domainEpochs    = "weft/1/epochs"
	domainPrevious  = "weft/1/epoch/previous"
)

// What this release writes. Others are refused by name: they may have another
// shape, which this release would misread.
const (
	thisVersion = 1
	thisSuite   = canonical.SuiteX25519

	// MaxControlHeads is how many heads of the control graph a header names: what
	// is left out of more is reached through the next record.
	MaxControlHeads = 16
	maxExtensions   = 16
)

// digest is h of docs/design.md: SHA-256 over the domain, a zero byte and the parts.
func digest(domain string, parts ...[]byte) clock.Hash {
	h := sha256.New()
	var buf [32]byte
	h.Write(append(append(buf[:0], domain...), 0))
	for _, p := range parts {
		h.Write(p)
	}
	var sum clock.Hash
	h.Sum(sum[:0])
	return sum
}
