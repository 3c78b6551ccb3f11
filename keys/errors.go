package keys

import (
	"errors"

	"github.com/weftdb/weft/internal/fault"
)

// Reported by decoders and parsers.
var (
	// ErrMalformed reports bytes or text that are not in the form they should be.
	ErrMalformed = fault.New(fault.Malformed, "the bytes or text are not in the form they should be")
	// ErrTooLarge reports bytes above the maximum of their type.
	ErrTooLarge = fault.New(fault.TooLarge, "more bytes than allowed")
	// ErrVersion reports a version or suite that this release does not know.
	ErrVersion = fault.New(fault.UnknownVersion, "the version or suite is unknown to this release")
	// ErrChecksum reports key text with a typo in it.
	ErrChecksum = fault.New(fault.InvalidArgument, "the checksum does not match: there is a typo in the key")
	// ErrInvalid reports values from which no valid object can be made.
	ErrInvalid = fault.New(fault.InvalidArgument, "no valid object can be made of these values")
)

// Reported by key files.
var (
	// ErrFileMode reports a key file that others than its owner can read.
	ErrFileMode = fault.New(fault.FileMode, "others than its owner can read the key file: run chmod 600 on it")
	// ErrKind reports a key file that holds another kind of key.
	ErrKind = fault.New(fault.WrongKeyKind, "the key file holds another kind of key")
	// ErrPassphraseNeeded reports a key file that is sealed, read without a passphrase.
	ErrPassphraseNeeded = fault.New(fault.PassphraseNeeded, "the key file is sealed: a passphrase is needed")
	// ErrPassphraseWrong reports a wrong passphrase, or a file that was altered.
	ErrPassphraseWrong = fault.New(fault.PassphraseWrong, "wrong passphrase, or the file was altered")
)

// ErrSealed reports sealed bytes that the key, info or associated data do not open.
var ErrSealed = fault.New(fault.Sealed, "sealed to another key or context, or altered")

// A Code is a stable word for the reason of a refusal, of the one list of such
// words. Programs may rely on it.
type Code = fault.Kind

// The reasons for which [Policy.Decide] and the checks it is made of refuse.
const (
	CodeNoCredential          = fault.NoCredential
	CodeKeyUnknown            = fault.KeyUnknown
	CodeKeyRevoked            = fault.KeyRevoked
	CodeKeyExpired            = fault.KeyExpired
	CodeCredentialExpired     = fault.CredentialExpired
	CodeCredentialNotYetValid = fault.CredentialNotYetValid
	CodeCertificateExpired    = fault.CertificateExpired
	CodeBadSignature          = fault.BadSignature
	CodeWrongAudience         = fault.WrongAudience
	CodeWrongScope            = fault.WrongScope
	CodeWrongOwner            = fault.WrongOwner
	CodeWrongPeer             = fault.WrongPeer
	CodeWrongUser             = fault.WrongUser
	CodePermissionDenied      = fault.PermissionDenied
)

// A Refusal is a typed no. It travels to the peer that was refused.
type Refusal struct {
	Code    Code
	Message string // one sentence for people: what was wrong, what to do
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Kind returns the code.
func (r *Refusal) Kind() Code { return r.Code }

// CodeOf returns the code of the [Refusal] in err, or "" if there is none.
func CodeOf(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}

func refuse(code Code, message string) error { return &Refusal{Code: code, Message: message} }
