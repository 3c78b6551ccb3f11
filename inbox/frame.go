package inbox

import (
	"errors"
	"fmt"
	"io"

	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const (
	maxFrame = 256 << 10
	// maxRequest bounds a request of a peer that has shown no credential on the
	// stream yet.
	maxRequest = 12 << 10
	maxBatch   = 256 // receipts, or digests, of one frame
)

var frames = canonical.Frames{Max: maxFrame, Malformed: ErrMalformed, TooLarge: ErrTooLarge}

type frameType byte

const (
	frameRegister    frameType = 1
	frameDeposit     frameType = 2
	frameFetch       frameType = 3
	frameAcknowledge frameType = 4
	frameStatus      frameType = 5
	framePresent     frameType = 6

	frameDone    frameType = 65
	frameItem    frameType = 66
	frameEnd     frameType = 67
	frameStates  frameType = 68
	frameRefusal frameType = 127
)

type registerFrame struct {
	_          struct{} `cbor:",toarray"`
	Credential []byte
}

// presentFrame shows what a deposit will, before one of more than maxRequest.
type presentFrame struct {
	_          struct{} `cbor:",toarray"`
	Credential []byte
	Recipient  keys.PublicKey
}

type depositFrame struct {
	_          struct{} `cbor:",toarray"`
	Credential []byte
	Envelope   []byte
}

type fetchFrame struct {
	_           struct{} `cbor:",toarray"`
	Certificate []byte
	After       uint64
	Follow      bool
}

type acknowledgeFrame struct {
	_        struct{} `cbor:",toarray"`
	Receipts [][]byte
}

type statusFrame struct {
	_         struct{} `cbor:",toarray"`
	Recipient keys.PublicKey
	Digests   []Digest
}

type itemFrame struct {
	_        struct{} `cbor:",toarray"`
	Seq      uint64
	Envelope []byte
}

// statesFrame answers a status, in its order: no bytes, the envelope is not here;
// one zero byte, it is held; else the receipt.
type statesFrame struct {
	_      struct{} `cbor:",toarray"`
	States [][]byte
}

type emptyFrame struct {
	_ struct{} `cbor:",toarray"`
}

type refusalFrame struct {
	_       struct{} `cbor:",toarray"`
	Code    string
	Message string
}

func writeFrame(w io.Writer, t frameType, body any) error {
	p, err := frames.Append(nil, byte(t), codec.Encode(body))
	if err != nil {
		return err
	}
	if _, err := w.Write(p); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// readFrame reads one frame of at most limit bytes; io.EOF means that the stream ended
// between frames.
func readFrame(r io.Reader, limit int) (frameType, []byte, error) {
	t, body, err := frames.Read(r, limit)
	return frameType(t), body, err
}

// readReply reads a frame of one of the wanted types; a refusal becomes its error.
func readReply(r io.Reader, want ...frameType) (frameType, []byte, error) {
	t, body, err := readFrame(r, maxFrame)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	if t == frameRefusal {
		var f refusalFrame
		if err := codec.Decode(body, "refusal", &f); err != nil {
			return 0, nil, err
		}
		return 0, nil, &keys.Refusal{Code: fault.Known(f.Code, fault.PermissionDenied), Message: f.Message}
	}
	for _, w := range want {
		if t == w {
			return t, body, nil
		}
	}
	return 0, nil, fault.Of(ErrMalformed, "the peer sent an unexpected frame of type %d", t)
}
