package keys

import "errors"

// Reported by decoders and parsers.
var (
	// ErrMalformed reports bytes or text that are not in the form they should be.
	ErrMalformed = errors.New("keys: malformed")
	// ErrTooLarge reports bytes above the maximum of their type.
	ErrTooLarge = errors.New("keys: too large")
	// ErrVersion reports a version or suite that this release does not know.
	ErrVersion = errors.New("keys: unknown version")
	// ErrChecksum reports key text with a typo in it.
	ErrChecksum = errors.New("keys: checksum does not match: there is a typo in the key")
	// ErrInvalid reports values from which no valid object can be made.
	ErrInvalid = errors.New("keys: invalid")
)

// Reported by key files.
var (
	// ErrFileMode reports a key file that others than its owner can read.
	ErrFileMode = errors.New("keys: key file is open to others")
	// ErrKind reports a key file that holds another kind of key.
	ErrKind = errors.New("keys: key file is of another kind")
	// ErrPassphraseNeeded reports a key file that is sealed, read without a passphrase.
	ErrPassphraseNeeded = errors.New("keys: key file is sealed: a passphrase is needed")
	// ErrPassphraseWrong reports a wrong passphrase, or a key file that was altered.
	ErrPassphraseWrong = errors.New("keys: wrong passphrase, or the key file was altered")
)

// ErrSealed reports sealed bytes that the key, info or associated data do not open.
var ErrSealed = errors.New("keys: cannot open: sealed to another key or context, or altered")

// A Code is a stable word for the reason of a refusal. Programs may rely on it.
type Code string

// The reasons for which [Policy.Decide] and the checks it is made of refuse.
const (
	CodeNoCredential          Code = "no_credential"
	CodeKeyUnknown            Code = "key_unknown"
	CodeKeyRevoked            Code = "key_revoked"
	CodeKeyExpired            Code = "key_expired"
	CodeCredentialExpired     Code = "credential_expired"
	CodeCredentialNotYetValid Code = "credential_not_yet_valid"
	CodeCertificateExpired    Code = "certificate_expired"
	CodeBadSignature          Code = "bad_signature"
	CodeWrongAudience         Code = "wrong_audience"
	CodeWrongScope            Code = "wrong_scope"
	CodeWrongOwner            Code = "wrong_owner"
	CodeWrongPeer             Code = "wrong_peer"
	CodeWrongUser             Code = "wrong_user"
	CodePermissionDenied      Code = "permission_denied"
)

// A Refusal is a typed no. It travels to the peer that was refused.
type Refusal struct {
	Code    Code
	Message string // one sentence for people: what was wrong, what to do
}

// Error returns the message and the code.
func (r *Refusal) Error() string { return r.Message + " (" + string(r.Code) + ")" }

// CodeOf returns the code of the [Refusal] in err, or "" if there is none.
func CodeOf(err error) Code {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Code
	}
	return ""
}

func refuse(code Code, message string) error { return &Refusal{Code: code, Message: message} }
