package inbox

import (
	"errors"

	"github.com/weftdb/weft/keys"
)

var (
	// ErrNotFound reports that there is no such message.
	ErrNotFound = errors.New("inbox: message not found")
	// ErrAmbiguous reports an ID that several senders used.
	ErrAmbiguous = errors.New("inbox: several messages have this ID")
	// ErrMalformed reports bytes that are not in the form they should be.
	ErrMalformed = errors.New("inbox: malformed")
	// ErrTooLarge reports a body or an encoding over its maximum.
	ErrTooLarge = errors.New("inbox: too large")
	// ErrSealed reports an envelope that the recipient's key does not open: it is
	// for another, or was altered.
	ErrSealed = errors.New("inbox: envelope cannot be opened")
	// ErrForged reports a message that its sender's device did not sign.
	ErrForged = errors.New("inbox: message is not signed by its sender")
	// ErrExpired reports a message older than Expiry, or one from the future.
	ErrExpired = errors.New("inbox: message is out of its time")
	// ErrClosed reports use of a closed Inbox.
	ErrClosed = errors.New("inbox: closed")
)

// Codes of a relay's refusals, besides those of package keys.
const (
	CodeUnknownRecipient keys.Code = "unknown_recipient"
	CodeMailboxFull      keys.Code = "quota_exceeded"
	CodeBadRequest       keys.Code = "bad_request"
	CodeInternal         keys.Code = "internal"
)

func refuse(code keys.Code, message string) error {
	return &keys.Refusal{Code: code, Message: message}
}
