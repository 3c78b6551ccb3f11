package inbox

import (
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

var (
	// ErrNotFound reports that there is no such message.
	ErrNotFound = fault.New(fault.NotFound, "no such message")
	// ErrAmbiguous reports an ID that several senders used.
	ErrAmbiguous = fault.New(fault.Ambiguous, "several messages have this ID")
	// ErrMalformed reports bytes that are not in the form they should be.
	ErrMalformed = fault.New(fault.Malformed, "the bytes are not in the form they should be")
	// ErrTooLarge reports a body or an encoding over its maximum.
	ErrTooLarge = fault.New(fault.TooLarge, "more bytes than allowed")
	// ErrSealed reports an envelope that the recipient's key does not open: it is
	// for another, or was altered.
	ErrSealed = fault.New(fault.Sealed, "the envelope cannot be opened: it is for another, or was altered")
	// ErrForged reports a message that its sender's device did not sign.
	ErrForged = fault.New(fault.BadSignature, "the message is not signed by its sender")
	// ErrExpired reports a message older than Expiry, or one from the future.
	ErrExpired = fault.New(fault.Expired, "the message has expired or is dated in the future")
	// ErrClosed reports use of a closed Inbox.
	ErrClosed = fault.New(fault.Closed, "the inbox is closed")
)

// Codes of a relay's refusals, besides those of package keys.
const (
	CodeUnknownRecipient = fault.UnknownRecipient
	CodeMailboxFull      = fault.QuotaExceeded
	CodeBadRequest       = fault.BadRequest
	CodeInternal         = fault.Internal
)

func refuse(code keys.Code, message string) error {
	return &keys.Refusal{Code: code, Message: message}
}
