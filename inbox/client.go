package inbox

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A Client asks one peer over one stream, one request at a time. Refusals are
// [keys.Refusal] errors.
type Client struct {
	stream io.ReadWriteCloser
	close  func() error
}

// NewClient returns a client on a stream of [Protocol]; the caller owes Close.
func NewClient(stream io.ReadWriteCloser) *Client {
	return &Client{stream: stream, close: sync.OnceValue(stream.Close)}
}

// Close closes the stream; it may be called twice.
func (c *Client) Close() error { return c.close() }

// Register has the peer keep messages for the credential's user.
func (c *Client) Register(ctx context.Context, cred *keys.Credential) error {
	p, err := encodeCredential(cred)
	if err != nil {
		return err
	}
	_, err = c.ask(ctx, frameRegister, registerFrame{Credential: p}, frameDone)
	return err
}

// Deposit leaves an encoded envelope for its recipient; without an error the
// peer has it on disk.
func (c *Client) Deposit(ctx context.Context, cred *keys.Credential, envelope []byte) error {
	p, err := encodeCredential(cred)
	if err != nil {
		return err
	}
	if len(p)+len(envelope)+depositHead > maxRequest {
		e, err := DecodeEnvelope(envelope)
		if err != nil {
			return err
		}
		if _, err := c.ask(ctx, framePresent, presentFrame{Credential: p, Recipient: e.Recipient}, frameDone); err != nil {
			return err
		}
	}
	_, err = c.ask(ctx, frameDeposit, depositFrame{Credential: p, Envelope: envelope}, frameDone)
	return err
}

// depositHead is what a deposit has besides credential and envelope, at most.
const depositHead = 32

// Acknowledge hands encoded receipts over, in requests that a peer takes from whoever
// has shown no credential.
func (c *Client) Acknowledge(ctx context.Context, receipts [][]byte) error {
	for len(receipts) > 0 {
		n, size := 0, 0
		for n < len(receipts) && n < maxBatch && size+len(receipts[n]) <= maxRequest-1024 {
			size += len(receipts[n]) + 3
			n++
		}
		if n == 0 {
			return fault.Of(ErrTooLarge, "a receipt of %d bytes", len(receipts[0]))
		}
		if _, err := c.ask(ctx, frameAcknowledge, acknowledgeFrame{Receipts: receipts[:n]}, frameDone); err != nil {
			return err
		}
		receipts = receipts[n:]
	}
	return nil
}

// Status asks where envelopes of one recipient are, at most 256.
func (c *Client) Status(ctx context.Context, recipient keys.PublicKey, digests []Digest) ([]Held, error) {
	body, err := c.ask(ctx, frameStatus, statusFrame{Recipient: recipient, Digests: digests}, frameStates)
	if err != nil {
		return nil, err
	}
	var f statesFrame
	if err := codec.Decode(body, "answer to a status", &f); err != nil {
		return nil, err
	}
	if len(f.States) != len(digests) {
		return nil, fault.Of(ErrMalformed, "the peer gave %d states for %d envelopes", len(f.States), len(digests))
	}
	out := make([]Held, len(f.States))
	for i, s := range f.States {
		switch {
		case len(s) == 0:
		case len(s) == 1 && s[0] == 0:
			out[i].Known = true
		default:
			out[i] = Held{Known: true, Receipt: s}
		}
	}
	return out, nil
}

// Fetch calls item with each envelope held for the certificate's identity after
// a position, and caughtUp when it has them all. If follow is set it goes on with
// those that arrive, until ctx ends or the stream breaks; nothing else can be
// asked of the client afterwards. An error of a callback ends it.
func (c *Client) Fetch(ctx context.Context, cert *keys.Certificate, after uint64, follow bool, item func(Item) error, caughtUp func() error) error {
	p, err := cert.Encode()
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.close() })
	defer stop()
	if err := writeFrame(c.stream, frameFetch, fetchFrame{Certificate: p, After: after, Follow: follow}); err != nil {
		return ended(ctx, err)
	}
	for {
		t, body, err := readReply(c.stream, frameItem, frameEnd)
		if err != nil {
			return ended(ctx, err)
		}
		if t == frameEnd {
			if err := caughtUp(); err != nil || !follow {
				return err
			}
			continue
		}
		var f itemFrame
		if err := codec.Decode(body, "held envelope", &f); err != nil {
			return err
		}
		if f.Seq <= after {
			return fault.Of(ErrMalformed, "the peer gave envelope %d after %d", f.Seq, after)
		}
		after = f.Seq
		if err := item(Item{Seq: f.Seq, Envelope: f.Envelope}); err != nil {
			return err
		}
	}
}

// ask sends one request and returns the body of its reply. When ctx ends the
// stream is closed.
func (c *Client) ask(ctx context.Context, t frameType, body any, want frameType) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.close() })
	defer stop()
	if err := writeFrame(c.stream, t, body); err != nil {
		return nil, ended(ctx, err)
	}
	_, reply, err := readReply(c.stream, want)
	return reply, ended(ctx, err)
}

// ended prefers the context's error to that of the stream that it closed.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func encodeCredential(c *keys.Credential) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	p, err := c.Encode()
	if err != nil {
		return nil, fmt.Errorf("credential: %w", err)
	}
	return p, nil
}
