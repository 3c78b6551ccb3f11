package inbox

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const fetchBytes = 512 << 10

// A Server answers the streams of other peers from a post.
type Server struct {
	Post *Post
	Gate Gate
	Self keys.PublicKey   // this node's device key: the audience of grants
	Now  func() time.Time // nil means time.Now
}

// Serve answers the requests on one stream, from the authenticated device peer,
// until it ends, ctx ends or the peer breaks the protocol. It closes the stream. If the
// stream counts what a peer that has proved nothing sends, it has a method Trust, which
// is called once the peer has shown a credential.
// Ask for a follow to end by ending ctx, for instance when a key is revoked.
func (s *Server) Serve(ctx context.Context, stream io.ReadWriteCloser, peer keys.PublicKey) error {
	ctx, cancel := context.WithCancel(ctx)
	closed := sync.OnceValue(stream.Close)
	stop := context.AfterFunc(ctx, func() { _ = closed() })
	defer func() {
		stop()
		cancel()
		_ = closed() // what was written was written; there is nobody to tell
	}()
	limit := maxRequest
	for {
		t, body, err := readFrame(stream, limit)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		if t == frameFetch {
			return s.fetch(ctx, cancel, stream, peer, body)
		}
		reply, out, err := s.answer(t, peer, body)
		if err != nil {
			reply, out = frameRefusal, refusalOf(err)
		} else if t == framePresent {
			limit = maxFrame
			if counted, ok := stream.(interface{ Trust() }); ok {
				counted.Trust()
			}
		}
		if err := writeFrame(stream, reply, out); err != nil {
			return err
		}
	}
}

// answer handles every request that has one reply.
func (s *Server) answer(t frameType, peer keys.PublicKey, body []byte) (frameType, any, error) {
	switch t {
	case frameRegister:
		return frameDone, emptyFrame{}, s.register(peer, body)
	case framePresent:
		return frameDone, emptyFrame{}, s.present(peer, body)
	case frameDeposit:
		return frameDone, emptyFrame{}, s.deposit(peer, body)
	case frameAcknowledge:
		var f acknowledgeFrame
		if err := codec.Decode(body, "acknowledgement", &f); err != nil {
			return 0, nil, err
		}
		return frameDone, emptyFrame{}, s.Post.Acknowledge(f.Receipts)
	case frameStatus:
		return s.status(body)
	}
	return 0, nil, fault.Of(ErrMalformed, "unknown request %d", t)
}

func (s *Server) register(peer keys.PublicKey, body []byte) error {
	var f registerFrame
	if err := codec.Decode(body, "registration", &f); err != nil {
		return err
	}
	c, err := credential(f.Credential)
	if err != nil {
		return err
	}
	var owner keys.PublicKey
	if c != nil {
		owner = c.Certificate.Identity
	}
	d, err := s.decide(peer, c, keys.ActionFetchMessages, owner)
	if err != nil {
		return err
	}
	return s.Post.Register(owner, d.Account)
}

// present checks a credential before what it is for is sent.
func (s *Server) present(peer keys.PublicKey, body []byte) error {
	var f presentFrame
	if err := codec.Decode(body, "credential shown", &f); err != nil {
		return err
	}
	c, err := credential(f.Credential)
	if err == nil {
		_, err = s.decide(peer, c, keys.ActionSendMessage, f.Recipient)
	}
	return err
}

func (s *Server) deposit(peer keys.PublicKey, body []byte) error {
	var f depositFrame
	if err := codec.Decode(body, "deposit", &f); err != nil {
		return err
	}
	c, err := credential(f.Credential)
	if err != nil {
		return err
	}
	e, err := DecodeEnvelope(f.Envelope)
	if err != nil {
		return err
	}
	if _, err := s.decide(peer, c, keys.ActionSendMessage, e.Recipient); err != nil {
		return err
	}
	return s.Post.Deposit(f.Envelope)
}

func (s *Server) decide(peer keys.PublicKey, c *keys.Credential, a keys.Action, owner keys.PublicKey) (keys.Decision, error) {
	account, err := s.Post.Account(owner)
	if err != nil {
		return keys.Decision{}, err
	}
	return s.Gate.Decide(keys.Request{
		Now: s.now(), Audience: s.Self, Peer: peer, Credential: c, Action: a,
		Resource: keys.Resource{Owner: owner, Account: account},
	})
}

func (s *Server) status(body []byte) (frameType, any, error) {
	var f statusFrame
	if err := codec.Decode(body, "request for a status", &f); err != nil {
		return 0, nil, err
	}
	held, err := s.Post.Status(f.Recipient, f.Digests)
	if err != nil {
		return 0, nil, err
	}
	out := statesFrame{States: make([][]byte, len(held))}
	for i, h := range held {
		if out.States[i] = h.Receipt; h.Known && h.Receipt == nil {
			out.States[i] = []byte{0}
		}
	}
	return frameStates, out, nil
}

// fetch sends what is held for the peer's identity and, if it is to follow, what
// arrives until the peer closes the stream.
func (s *Server) fetch(ctx context.Context, cancel func(), stream io.ReadWriteCloser, peer keys.PublicKey, body []byte) error {
	var f fetchFrame
	recipient, err := keys.PublicKey{}, codec.Decode(body, "request for messages", &f)
	if err == nil {
		recipient, err = s.recipient(peer, f.Certificate)
	}
	if err != nil {
		return errors.Join(writeFrame(stream, frameRefusal, refusalOf(err)), err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if f.Follow {
		// Nothing more may come: any byte, or the end, ends the follow.
		wg.Go(func() {
			_, _ = stream.Read(make([]byte, 1))
			cancel()
		})
		defer stream.Close() // ends the read above
	}
	for after := f.After; ; {
		changed := s.Post.Changed(recipient)
		if after, err = s.send(ctx, stream, recipient, after); err != nil {
			return err
		}
		if err := writeFrame(stream, frameEnd, emptyFrame{}); err != nil {
			return err
		}
		if !f.Follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send writes every envelope after a position and returns the last one's.
func (s *Server) send(ctx context.Context, w io.Writer, recipient keys.PublicKey, after uint64) (uint64, error) {
	for ctx.Err() == nil {
		items, err := s.Post.Fetch(recipient, after, fetchBytes)
		if err != nil {
			return after, errors.Join(writeFrame(w, frameRefusal, refusalOf(err)), err)
		}
		if len(items) == 0 {
			return after, nil
		}
		for _, it := range items {
			if err := writeFrame(w, frameItem, itemFrame{Seq: it.Seq, Envelope: it.Envelope}); err != nil {
				return after, err
			}
			after = it.Seq
		}
	}
	return after, ctx.Err()
}

// recipient returns the identity whose device the peer is by its certificate.
func (s *Server) recipient(peer keys.PublicKey, certificate []byte) (keys.PublicKey, error) {
	c, err := keys.DecodeCertificate(certificate)
	if err != nil {
		return keys.PublicKey{}, err
	}
	if err := c.Verify(s.now()); err != nil {
		return keys.PublicKey{}, err
	}
	if c.Sign != peer || peer.IsZero() {
		return keys.PublicKey{}, refuse(keys.CodeWrongPeer, "The certificate is of another device than the one that presents it: present this device's own.")
	}
	account, err := s.Post.Account(c.Identity)
	if err != nil {
		return keys.PublicKey{}, err
	}
	if account.IsZero() {
		return keys.PublicKey{}, refuse(CodeUnknownRecipient, "This identity has no mailbox at this peer: set one up first.")
	}
	return c.Identity, nil
}

func (s *Server) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// credential decodes a credential; none is no error, and the gate refuses it.
func credential(p []byte) (*keys.Credential, error) {
	if len(p) == 0 {
		return nil, nil
	}
	return keys.DecodeCredential(p)
}

// refusalOf gives what a peer is told of an error: a refusal as it is, what was
// wrong with its bytes, and nothing about our own failures.
func refusalOf(err error) refusalFrame {
	var r *keys.Refusal
	switch {
	case errors.As(err, &r):
		return refusalFrame{Code: string(r.Code), Message: r.Message}
	case errors.Is(err, ErrMalformed), errors.Is(err, ErrTooLarge), errors.Is(err, ErrForged),
		errors.Is(err, keys.ErrMalformed), errors.Is(err, keys.ErrTooLarge), errors.Is(err, keys.ErrVersion):
		return refusalFrame{Code: string(CodeBadRequest), Message: "The request was not understood: " + err.Error()}
	}
	return refusalFrame{Code: string(CodeInternal), Message: "The peer failed to answer: try again later."}
}
