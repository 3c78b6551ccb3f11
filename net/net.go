// Package net replicates threads: sets of signed, sealed, single-writer logs.
// It moves authenticated bytes and knows no documents.
//
//	Host ── Thread ── Log ── Record      what a node holds
//	 └───── Peer ── Session              whom it exchanges with
//
// A [Host] is one libp2p host with the threads of one device. A [Thread] keeps
// control logs (members, invites, keys), which it folds itself, and data logs,
// whose payloads it seals, orders by arrival and hands to whoever attached. A
// relay is a Host that serves threads it has only the service keys of.
//
// Every transfer of records is a pull that follows: the receiver subscribes with
// the heads that it has, and the sender streams runs from there on, live ones
// included. Formats: docs/design.md and docs/design/net.md.
package net

import (
	"encoding/base32"
	"fmt"

	"github.com/weftdb/weft/internal/clock"
)

// A ThreadID names a thread: the hash of its signed genesis. It can be checked
// against the genesis and is never a permission.
type ThreadID [32]byte

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// String returns the multibase (base32, "b…") text form of the ID.
func (id ThreadID) String() string { return "b" + idEncoding.EncodeToString(id[:]) }

// ParseThreadID is the inverse of [ThreadID.String].
func ParseThreadID(s string) (ThreadID, error) {
	var id ThreadID
	if len(s) == 0 || s[0] != 'b' {
		return id, fmt.Errorf("net: thread ID %q does not begin with b", s)
	}
	p, err := idEncoding.DecodeString(s[1:])
	if err != nil || len(p) != len(id) || "b"+idEncoding.EncodeToString(p) != s {
		return id, fmt.Errorf("net: thread ID %q is not the base32 of 32 bytes", s)
	}
	return ThreadID(p), nil
}

// A Draft is a transaction to append to this device's data log.
type Draft struct {
	Time    clock.Time // later than every time of the log and of what was flushed
	Atomic  bool
	Payload []byte // at most MaxPayload
}

// An Entry is a data record, opened.
type Entry struct {
	ID      clock.RecordID
	Time    clock.Time
	Atomic  bool
	Payload []byte // must not be changed

	Snapshot bool // of a snapshot log
}

// An Arrival is a data record in the order in which this node stored the
// records of a thread, from 1. Own records arrive too.
type Arrival struct {
	N int64
	Entry
}

// A Role says what a member may do in a thread.
type Role uint8

// Roles. Only owner and writer can be given yet; the others are refused by name.
const (
	RoleOwner  Role = 1
	RoleAdmin  Role = 2
	RoleWriter Role = 3
	RoleReader Role = 4
	RoleRelay  Role = 5
)

// Maxima of the format (docs/design.md).
const (
	MaxHeader  = 1 << 10
	MaxPlain   = 1 << 20
	MaxPiece   = 64 << 10
	MaxPayload = MaxPlain - 64<<10 // room for heads and padding
	MaxBlob    = 1 << 20
	MaxFrame   = 4 << 20
)
