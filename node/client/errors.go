package client

import (
	"context"
	"errors"
	"io"
	stdnet "net"
	"strings"

	"connectrpc.com/connect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/internal/fault"
)

// ErrNotFound reports that what a call was about is not there.
var ErrNotFound = fault.New(fault.NotFound, "not found")

// ErrNoDaemon reports that something else than a daemon answers at the address of an API.
var ErrNoDaemon = fault.New(fault.Unavailable, "what answers is no weft daemon")

// errEnded reports a daemon that ended meanwhile.
var errEnded = fault.New(fault.Closed, "the daemon ended during the call")

// errorInterceptor gives the errors of calls the kind and the sentence that they
// had at the node.
type errorInterceptor struct{}

func (errorInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		return res, inward(err)
	}
}

func (errorInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		return conn{next(ctx, spec)}
	}
}

func (errorInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// A conn is a stream whose errors have kinds.
type conn struct{ connect.StreamingClientConn }

func (c conn) Send(m any) error    { return inward(c.StreamingClientConn.Send(m)) }
func (c conn) Receive(m any) error { return inward(c.StreamingClientConn.Receive(m)) }

// inward returns the error that the node had, for one that a call met. Where no
// node answered it is of kind unavailable, and closed where one ended meanwhile.
func inward(err error) error {
	var failed *connect.Error
	if errors.Is(err, io.EOF) || !errors.As(err, &failed) {
		return err
	}
	for _, d := range failed.Details() {
		if v, derr := d.Value(); derr == nil {
			if info, ok := v.(*weftv1.ErrorInfo); ok {
				return fault.Errorf(fault.Known(info.GetCode(), fault.Internal), "%s", failed.Message())
			}
		}
	}
	if refused, ok := errors.AsType[*tokenError](err); ok {
		return refused.error
	}
	if said, ok := errors.AsType[*fault.Error](err); ok && errors.Is(err, ErrNoDaemon) {
		return said
	}
	op, ok := errors.AsType[*stdnet.OpError](err)
	if ok && op.Op == "dial" {
		return fault.Errorf(fault.Unavailable, "no daemon answers")
	}
	if ok && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return errEnded
	}
	switch failed.Code() {
	case connect.CodeCanceled:
		return context.Canceled
	case connect.CodeDeadlineExceeded:
		return context.DeadlineExceeded
	case connect.CodeUnimplemented:
		return fault.Errorf(fault.UnknownVersion, "what answers is a daemon of another release, or none: it does not know this call")
	case connect.CodeInternal:
		if strings.Contains(failed.Message(), "invalid UTF-8") { // what was to be sent, which nobody has seen
			return fault.Errorf(fault.InvalidArgument, "what was given is no UTF-8 text")
		}
	case connect.CodeResourceExhausted:
		return fault.Errorf(fault.TooLarge, "%s", failed.Message())
	}
	return errEnded
}
