package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
)

// told gives the word of its kind to every error that Connect or the mux makes without
// asking the interceptor: of a unary message that cannot be read or is over maxMessage, of
// a call, method or content type that there is not.
func told(next http.Handler) http.Handler {
	writer := connect.NewErrorWriter()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &answer{ResponseWriter: w}
		next.ServeHTTP(a, r)
		err := a.failure()
		if err == nil {
			a.release()
			return
		}
		w.Header().Del("Content-Length")
		// What Connect makes of an error has its status; 404, 405 and 415 stay.
		_ = writer.Write(&restated{w, a.status}, r, outward(err))
	})
}

// An answer passes a response on, but holds a failure back: a status from 400 on, with its
// body, which is small. A status of gRPC is in the header until the call ends.
type answer struct {
	http.ResponseWriter
	status int  // 0 before the header
	held   bool // the body is a failure's
	body   bytes.Buffer
}

// WriteHeader passes the header on, unless it is one of a failure.
func (a *answer) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	a.status = status
	if a.held = status >= http.StatusBadRequest; !a.held {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write passes the body on, or keeps it.
func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.held {
		return a.body.Write(p)
	}
	return a.ResponseWriter.Write(p)
}

// Flush sends what a stream has written so far. Connect also flushes at the end of a call
// of gRPC, whose failure is in the header: that waits.
func (a *answer) Flush() {
	if _, ends := a.grpc(); ends || a.held {
		return
	}
	a.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(a.ResponseWriter).Flush() // is of no use to a recorder
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// grpc reports whether a call of gRPC ends before it has sent anything, and under which
// prefix its status is in the header: none for gRPC-Web, that of a trailer for gRPC.
func (a *answer) grpc() (prefix string, ends bool) {
	if a.status != 0 {
		return "", false
	}
	for _, prefix := range []string{"", http.TrailerPrefix} {
		if a.Header().Get(prefix+"Grpc-Status") != "" {
			return prefix, true
		}
	}
	return "", false
}

// failure returns the error that the answer tells without a word; nil if it tells none or
// has one.
func (a *answer) failure() error {
	h := a.Header()
	if prefix, ends := a.grpc(); ends {
		code, err := strconv.ParseUint(h.Get(prefix+"Grpc-Status"), 10, 32)
		if err != nil || code == 0 || h.Get(prefix+"Grpc-Status-Details-Bin") != "" {
			return nil
		}
		message := h.Get(prefix + "Grpc-Message")
		h.Del(prefix + "Grpc-Status")
		h.Del(prefix + "Grpc-Message")
		return connect.NewError(connect.Code(code), errors.New(plain(message)))
	}
	if !a.held {
		return nil
	}
	var wire struct {
		Code    connect.Code      `json:"code"`
		Message string            `json:"message"`
		Details []json.RawMessage `json:"details"`
	}
	if strings.HasPrefix(h.Get("Content-Type"), "application/json") && json.Unmarshal(a.body.Bytes(), &wire) == nil {
		if len(wire.Details) > 0 {
			return nil
		}
		return connect.NewError(wire.Code, errors.New(wire.Message))
	}
	if a.status == http.StatusNotFound {
		return fault.Errorf(fault.UnknownVersion, "what answers is a daemon of another release, or none: it does not know this call")
	}
	return connect.NewError(connect.CodeInvalidArgument, errors.New(strings.ToLower(http.StatusText(a.status))))
}

// release sends what was held back.
func (a *answer) release() {
	if a.held {
		a.ResponseWriter.WriteHeader(a.status)
		_, _ = a.ResponseWriter.Write(a.body.Bytes()) // the caller may have left
	}
}

// plain reads the percent encoding of a message of gRPC.
func plain(message string) string {
	var out strings.Builder
	for i := 0; i < len(message); i++ {
		if message[i] == '%' && i+2 < len(message) {
			if b, err := strconv.ParseUint(message[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(b))
				i += 2
				continue
			}
		}
		out.WriteByte(message[i])
	}
	return out.String()
}

// A restated response keeps the status of HTTP that the failure had; one that a protocol
// tells with success stays that.
type restated struct {
	http.ResponseWriter
	status int
}

// WriteHeader writes the status.
func (s *restated) WriteHeader(status int) {
	if status != http.StatusOK && s.status != 0 {
		status = s.status
	}
	s.ResponseWriter.WriteHeader(status)
}
