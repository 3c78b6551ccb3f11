package rpc

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
)

// statuses is the one table from kinds of errors to statuses of the API. A kind
// without a row blames the request, and is an invalid argument. The detail of an error
// says which kind it is.
var statuses = map[fault.Kind]connect.Code{
	fault.Internal:         connect.CodeInternal,
	fault.InvalidArgument:  connect.CodeInvalidArgument,
	fault.InvalidName:      connect.CodeInvalidArgument,
	fault.InvalidPath:      connect.CodeInvalidArgument,
	fault.NotFound:         connect.CodeNotFound,
	fault.AlreadyExists:    connect.CodeAlreadyExists,
	fault.Ambiguous:        connect.CodeInvalidArgument,
	fault.Conflict:         connect.CodeAborted,
	fault.OutOfRange:       connect.CodeOutOfRange,
	fault.TooLarge:         connect.CodeInvalidArgument,
	fault.Malformed:        connect.CodeInvalidArgument,
	fault.UnknownVersion:   connect.CodeUnimplemented,
	fault.Corrupt:          connect.CodeDataLoss,
	fault.DiskFull:         connect.CodeResourceExhausted,
	fault.PermissionDenied: connect.CodePermissionDenied,
	fault.Closed:           connect.CodeUnavailable,
	fault.Timeout:          connect.CodeDeadlineExceeded,
	fault.Canceled:         connect.CodeCanceled,
	fault.Unreachable:      connect.CodeUnavailable,

	fault.HomeInUse:        connect.CodeUnavailable,
	fault.NewerHome:        connect.CodeFailedPrecondition,
	fault.AddressInUse:     connect.CodeUnavailable,
	fault.BadBackup:        connect.CodeDataLoss,
	fault.CutShort:         connect.CodeInvalidArgument,
	fault.ClockAhead:       connect.CodeFailedPrecondition,
	fault.FileMode:         connect.CodeFailedPrecondition,
	fault.WrongKeyKind:     connect.CodeFailedPrecondition,
	fault.PassphraseNeeded: connect.CodeFailedPrecondition,
	fault.PassphraseWrong:  connect.CodeFailedPrecondition,
	fault.Unavailable:      connect.CodeUnavailable,
	fault.Usage:            connect.CodeInvalidArgument,

	fault.NoCredential:          connect.CodePermissionDenied,
	fault.KeyUnknown:            connect.CodePermissionDenied,
	fault.KeyRevoked:            connect.CodePermissionDenied,
	fault.KeyExpired:            connect.CodePermissionDenied,
	fault.CredentialExpired:     connect.CodePermissionDenied,
	fault.CredentialNotYetValid: connect.CodePermissionDenied,
	fault.CertificateExpired:    connect.CodePermissionDenied,
	fault.BadSignature:          connect.CodePermissionDenied,
	fault.WrongAudience:         connect.CodePermissionDenied,
	fault.WrongScope:            connect.CodePermissionDenied,
	fault.WrongOwner:            connect.CodePermissionDenied,
	fault.WrongPeer:             connect.CodePermissionDenied,
	fault.WrongUser:             connect.CodePermissionDenied,
	fault.QuotaExceeded:         connect.CodePermissionDenied,
	fault.NoDelegation:          connect.CodePermissionDenied,
	fault.BadRequest:            connect.CodePermissionDenied,

	fault.UnknownExtension: connect.CodeUnimplemented,
	fault.UnknownOperation: connect.CodeUnimplemented,
	fault.BrokenChain:      connect.CodeDataLoss,
	fault.BadClock:         connect.CodeDataLoss,
	fault.WrongBody:        connect.CodeDataLoss,
	fault.Gap:              connect.CodeFailedPrecondition,
	fault.NotMember:        connect.CodePermissionDenied,
	fault.Void:             connect.CodePermissionDenied,
	fault.WrongKey:         connect.CodeDataLoss,
	fault.Altered:          connect.CodeDataLoss,
	fault.Bomb:             connect.CodeDataLoss,
	fault.LimitReached:     connect.CodeResourceExhausted,
	fault.WaitingFull:      connect.CodeResourceExhausted,
	fault.BadInvite:        connect.CodePermissionDenied,
	fault.NoKeys:           connect.CodeFailedPrecondition,
	fault.BlobUnavailable:  connect.CodeUnavailable,
	fault.UnknownThread:    connect.CodeNotFound,
	fault.NotRelay:         connect.CodeFailedPrecondition,
	fault.StateHash:        connect.CodeDataLoss,
	fault.NotCut:           connect.CodeFailedPrecondition,

	fault.UnknownRecipient: connect.CodePermissionDenied,
	fault.Sealed:           connect.CodeInvalidArgument,
	fault.Expired:          connect.CodeFailedPrecondition,

	fault.DuplicateKey: connect.CodeAlreadyExists,
	fault.NoMatch:      connect.CodeFailedPrecondition,
	fault.Atomic:       connect.CodeAborted,
	fault.Rule:         connect.CodePermissionDenied,
	fault.Role:         connect.CodePermissionDenied,
	fault.Stale:        connect.CodeAborted,
	fault.Unseen:       connect.CodeFailedPrecondition,
}

// Connect has 16 statuses and the closed list of kinds is longer, so several kinds share
// one: a caller that must tell them apart reads the detail.
func statusOf(k fault.Kind) connect.Code {
	if c, ok := statuses[k]; ok {
		return c
	}
	return connect.CodeInvalidArgument
}

// transportKind returns the kind of an error that Connect made: of a message that it could
// not read, or a call that ended. ResourceExhausted is what it says of a message over
// maxMessage. A unary call whose message cannot be read ends before the interceptors, and
// comes here by [told].
func transportKind(c connect.Code) fault.Kind {
	switch c {
	case connect.CodeInvalidArgument:
		return fault.InvalidArgument
	case connect.CodeResourceExhausted:
		return fault.TooLarge
	case connect.CodeUnimplemented:
		return fault.NotFound
	case connect.CodeDeadlineExceeded:
		return fault.Timeout
	case connect.CodeCanceled:
		return fault.Canceled
	case connect.CodeUnavailable:
		return fault.Closed
	}
	return fault.Internal
}

// errorInterceptor gives every error its status and its word. The services return errors of
// the node as they are; only this, the guard and told make statuses of them. Handler puts it
// first, so it also sees what the interceptor after it makes of a panic.
type errorInterceptor struct{ n *node.Node }

// outward says what went wrong. A call that was cut says why; one that the node's own end
// canceled was not canceled by its caller. Close cancels the contexts of all calls, and canceled would tell the caller
// that it was its own doing, where closed says that the call may be made again of the next
// process.
func (i errorInterceptor) outward(ctx context.Context, err error) error {
	if why := cutBy(ctx); why != nil {
		return outward(why)
	}
	if err == nil {
		return nil
	}
	if ended := i.n.Err(); ended != nil && errors.Is(err, context.Canceled) {
		err = ended
	}
	return outward(err)
}

func (i errorInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err := i.outward(ctx, err); err != nil {
			return nil, err
		}
		return res, nil
	}
}

// WrapStreamingClient is there for the interface only: this interceptor is one of a server.
func (errorInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (i errorInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return i.outward(ctx, next(ctx, conn))
	}
}

// outward turns an error into one of the API with its kind as a detail. Errors of the
// transport keep their status. One that has details already is not changed. If the detail
// cannot be made the error goes without it: the status still says what it is.
func outward(err error) error {
	kind := fault.KindOf(err)
	status := statusOf(kind)
	var known *connect.Error
	if errors.As(err, &known) {
		if len(known.Details()) > 0 {
			return err
		}
		if why := known.Unwrap(); fault.Is(why, fault.QuotaExceeded) { // a body that there is no room for
			err = why
		} else {
			kind, status = transportKind(known.Code()), known.Code()
			err = errors.New(known.Message())
		}
	}
	out := connect.NewError(status, err)
	if detail, derr := connect.NewErrorDetail(&weftv1.ErrorInfo{Code: string(kind)}); derr == nil {
		out.AddDetail(detail)
	}
	return out
}
