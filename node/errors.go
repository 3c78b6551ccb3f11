package node

import (
	"context"
	"errors"
	"io/fs"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/transfer"
)

// Reported when a node opens.
var (
	// ErrHomeInUse reports a home that another process has open.
	ErrHomeInUse = errors.New("node: home is in use by another process")
	// ErrInUse reports an address at which another process listens.
	ErrInUse = errors.New("node: address is in use")
	// ErrNewerHome reports a home that a newer release wrote.
	ErrNewerHome = errors.New("node: home is of a newer release")
	// ErrInvalid reports a configuration or an argument that cannot be.
	ErrInvalid = errors.New("node: invalid")
	// ErrClosed reports use of a closed node.
	ErrClosed = errors.New("node: closed")
)

// Reported by what a node keeps.
var (
	// ErrNotFound reports that the node has no such database, key or relay.
	ErrNotFound = errors.New("node: not found")
	// ErrExists reports a name or key that is taken.
	ErrExists = errors.New("node: already exists")
	// ErrName reports a database name that is not 1 to 63 letters, digits, dots,
	// dashes and underscores, beginning with a letter or digit.
	ErrName = errors.New("node: invalid name")
	// ErrAmbiguous reports a bucket name that several databases have.
	ErrAmbiguous = errors.New("node: several databases have a bucket of this name: write DATABASE/BUCKET")
	// ErrUnreachable reports that no peer answers that could do what was asked.
	ErrUnreachable = errors.New("node: unreachable")
	// ErrDenied reports a call without the administrator's token, or from a
	// place from which calls are not taken.
	ErrDenied = errors.New("node: permission denied")
)

// An outcome is what an error means outward: a stable word, and its status.
type outcome struct {
	err  error
	word string
	code connect.Code
}

// outcomes is the one table from the sentinels of every package to words and
// status codes. The first row that matches counts.
func outcomes() []outcome {
	return []outcome{
		{ErrNotFound, "not_found", connect.CodeNotFound},
		{db.ErrNotFound, "not_found", connect.CodeNotFound},
		{buckets.ErrNotFound, "not_found", connect.CodeNotFound},
		{net.ErrNotFound, "not_found", connect.CodeNotFound},
		{net.ErrUnknownThread, "not_found", connect.CodeNotFound},
		{net.ErrNoBlob, "blob_unavailable", connect.CodeUnavailable},
		{inbox.ErrNotFound, "not_found", connect.CodeNotFound},
		{store.ErrNotFound, "not_found", connect.CodeNotFound},
		{ErrExists, "already_exists", connect.CodeAlreadyExists},
		{db.ErrExists, "already_exists", connect.CodeAlreadyExists},
		{buckets.ErrExists, "already_exists", connect.CodeAlreadyExists},
		{ErrName, "invalid_name", connect.CodeInvalidArgument},
		{buckets.ErrName, "invalid_name", connect.CodeInvalidArgument},
		{buckets.ErrPath, "invalid_path", connect.CodeInvalidArgument},
		{buckets.ErrRange, "out_of_range", connect.CodeOutOfRange},
		{ErrAmbiguous, "ambiguous", connect.CodeInvalidArgument},
		{inbox.ErrAmbiguous, "ambiguous", connect.CodeInvalidArgument},
		{db.ErrConflict, "conflict", connect.CodeAborted},
		{buckets.ErrConflict, "conflict", connect.CodeAborted},
		{store.ErrConflict, "conflict", connect.CodeAborted},
		{db.ErrSchema, "document_validation_failure", connect.CodeInvalidArgument},
		{db.ErrTooLarge, "too_large", connect.CodeInvalidArgument},
		{buckets.ErrTooBig, "too_large", connect.CodeInvalidArgument},
		{inbox.ErrTooLarge, "too_large", connect.CodeInvalidArgument},
		{keys.ErrTooLarge, "too_large", connect.CodeInvalidArgument},
		{store.ErrTooBig, "too_large", connect.CodeInvalidArgument},
		{buckets.ErrCorrupt, "corrupt", connect.CodeDataLoss},
		{ErrDenied, "permission_denied", connect.CodePermissionDenied},
		{ErrInvalid, "invalid_argument", connect.CodeInvalidArgument},
		{keys.ErrInvalid, "invalid_argument", connect.CodeInvalidArgument},
		{keys.ErrChecksum, "invalid_argument", connect.CodeInvalidArgument},
		{keys.ErrMalformed, "malformed", connect.CodeInvalidArgument},
		{inbox.ErrMalformed, "malformed", connect.CodeInvalidArgument},
		{buckets.ErrMalformed, "malformed", connect.CodeInvalidArgument},
		{net.ErrTooLarge, "too_large", connect.CodeInvalidArgument},
		{net.ErrMalformed, "malformed", connect.CodeInvalidArgument},
		{ErrBackup, "bad_backup", connect.CodeDataLoss},
		{db.ErrState, "corrupt", connect.CodeDataLoss},
		{transfer.ErrFormat, "malformed", connect.CodeInvalidArgument},
		{transfer.ErrCut, "cut_short", connect.CodeInvalidArgument},
		{transfer.ErrDefined, "already_exists", connect.CodeAlreadyExists},
		{keys.ErrVersion, "unknown_version", connect.CodeUnimplemented},
		{net.ErrVersion, "unknown_version", connect.CodeUnimplemented},
		{net.ErrExtension, "unknown_extension", connect.CodeUnimplemented},
		{net.ErrOperation, "unknown_operation", connect.CodeUnimplemented},
		{net.ErrNotMember, "not_member", connect.CodePermissionDenied},
		{net.ErrInvite, "bad_invite", connect.CodePermissionDenied},
		{net.ErrNoInvite, "bad_invite", connect.CodeFailedPrecondition},
		{net.ErrNoKeys, "no_keys", connect.CodeFailedPrecondition},
		{net.ErrWrongKey, "wrong_key", connect.CodeDataLoss},
		{net.ErrSealed, "altered", connect.CodeDataLoss},
		{keys.ErrFileMode, "file_mode", connect.CodeFailedPrecondition},
		{keys.ErrPassphraseNeeded, "passphrase_needed", connect.CodeFailedPrecondition},
		{keys.ErrPassphraseWrong, "passphrase_wrong", connect.CodeFailedPrecondition},
		{inbox.ErrSealed, "sealed", connect.CodeInvalidArgument},
		{inbox.ErrForged, "bad_signature", connect.CodeInvalidArgument},
		{inbox.ErrExpired, "expired", connect.CodeFailedPrecondition},
		{clock.ErrAhead, "clock_ahead", connect.CodeFailedPrecondition},
		{ErrHomeInUse, "home_in_use", connect.CodeUnavailable},
		{store.ErrLocked, "home_in_use", connect.CodeUnavailable},
		{ErrInUse, "address_in_use", connect.CodeUnavailable},
		{ErrUnreachable, "unreachable", connect.CodeUnavailable},
		{ErrNewerHome, "newer_home", connect.CodeFailedPrecondition},
		{ErrClosed, "closed", connect.CodeUnavailable},
		{db.ErrClosed, "closed", connect.CodeUnavailable},
		{net.ErrClosed, "closed", connect.CodeUnavailable},
		{inbox.ErrClosed, "closed", connect.CodeUnavailable},
		{store.ErrClosed, "closed", connect.CodeUnavailable},
		{fs.ErrNotExist, "not_found", connect.CodeNotFound},
		{fs.ErrPermission, "permission_denied", connect.CodePermissionDenied},
		{context.DeadlineExceeded, "timeout", connect.CodeDeadlineExceeded},
		{context.Canceled, "canceled", connect.CodeCanceled},
	}
}

// Code returns the stable word for an error and its status for callers of the
// API; "internal" for one that no caller can act on.
func Code(err error) (word string, status connect.Code) {
	if code := keys.CodeOf(err); code != "" {
		return string(code), connect.CodePermissionDenied
	}
	if _, ok := errors.AsType[interface {
		error
		Kind() fault.Kind
	}](err); ok {
		kind := fault.KindOf(err)
		return string(kind), statusOf(kind)
	}
	for _, o := range outcomes() {
		if errors.Is(err, o.err) {
			return o.word, o.code
		}
	}
	return "internal", connect.CodeInternal
}

// statusOf returns the status of a kind.
func statusOf(kind fault.Kind) connect.Code {
	switch kind {
	case fault.Internal:
		return connect.CodeInternal
	case fault.NotFound:
		return connect.CodeNotFound
	case fault.AlreadyExists, fault.DuplicateKey:
		return connect.CodeAlreadyExists
	case fault.Rule, fault.PermissionDenied:
		return connect.CodePermissionDenied
	case fault.Conflict:
		return connect.CodeAborted
	case fault.Corrupt:
		return connect.CodeDataLoss
	case fault.Closed:
		return connect.CodeUnavailable
	}
	return connect.CodeInvalidArgument
}
