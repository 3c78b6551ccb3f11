package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// follow starts following a peer, unless it is followed.
func (b *Inbox) follow(ctx context.Context, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.kicks[addr] != nil {
		return
	}
	again := make(chan struct{}, 1)
	b.kicks[addr] = again
	b.wg.Go(func() { b.followLoop(ctx, addr, again) })
}

// followLoop collects from a peer, live, until ctx ends.
func (b *Inbox) followLoop(ctx context.Context, addr string, again <-chan struct{}) {
	timer := time.NewTimer(retryMax)
	defer timer.Stop()
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		caughtUp, err := b.collect(ctx, addr, true)
		if ctx.Err() != nil {
			return
		}
		if caughtUp {
			wait = retryMin
		}
		state := "unreachable"
		if keys.CodeOf(err) != "" {
			state = "refused"
		}
		b.report(addr, state, fmt.Sprint(err))
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-again:
		case <-timer.C:
		}
	}
}

func (b *Inbox) report(addr, state, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.peers[addr]; s.State == state && s.Reason == reason {
		return
	}
	b.peers[addr] = PeerStatus{Addr: addr, State: state, Reason: reason, Since: b.c.Now()}
	b.changed.Ring()
}

// Collect files everything that the peer at a multiaddr holds for this person
// now, and acknowledges it.
func (b *Inbox) Collect(ctx context.Context, addr string) error {
	_, err := b.collect(ctx, addr, false)
	return err
}

// collect fetches, files and acknowledges. caughtUp reports whether it had
// everything at least once.
func (b *Inbox) collect(ctx context.Context, addr string, live bool) (caughtUp bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, _, err := b.c.Transport.Open(ctx, addr)
	if err != nil {
		return false, fmt.Errorf("reach %s: %w", addr, err)
	}
	client := NewClient(stream)
	defer client.Close()
	if live {
		b.report(addr, "following", "")
	}
	var receipts [][]byte
	hand := func() error {
		if len(receipts) == 0 {
			return nil
		}
		err := b.acknowledge(ctx, addr, receipts)
		receipts = receipts[:0]
		return err
	}
	item := func(it Item) error {
		r, err := b.take(ctx, it.Envelope)
		if err != nil || r == nil {
			return err
		}
		if receipts = append(receipts, r); len(receipts) == maxBatch {
			return hand()
		}
		return nil
	}
	err = client.Fetch(ctx, b.c.Certificate, 0, live, item, func() error {
		if err := hand(); err != nil {
			return err
		}
		caughtUp = true
		if live {
			b.report(addr, "caught up", "")
		}
		return nil
	})
	return caughtUp, err
}

// acknowledge hands receipts to a peer over a stream of their own: the one that
// follows carries nothing else.
func (b *Inbox) acknowledge(ctx context.Context, addr string, receipts [][]byte) error {
	stream, _, err := b.c.Transport.Open(ctx, addr)
	if err != nil {
		return fmt.Errorf("reach %s: %w", addr, err)
	}
	client := NewClient(stream)
	defer client.Close()
	return client.Acknowledge(ctx, receipts)
}

// take opens an envelope, files its message and returns the receipt. Only an
// error of this node's own is an error: an envelope that is bad gets a receipt
// that says so, or it would be sent for ever. One that is out of its time gets
// none: it may be this clock that is wrong, and the peer expires it.
func (b *Inbox) take(ctx context.Context, envelope []byte) ([]byte, error) {
	digest, outcome := digestOf(envelope), OutcomeFiled
	msg, err := b.openEnvelope(envelope)
	switch {
	case errors.Is(err, keys.ErrNoKey):
		return nil, fmt.Errorf("this device does not hold the identity's sealing key: %w", err)
	case errors.Is(err, ErrExpired):
		b.c.Logf("inbox: left an envelope: %v", err)
		return nil, nil
	case err != nil:
		b.c.Logf("inbox: refused an envelope: %v", err)
		outcome = OutcomeRefused
	default:
		filed, err := b.c.Mailbox.File(ctx, msg)
		if err != nil {
			return nil, err
		}
		if filed && b.c.OnMessage != nil {
			b.c.OnMessage(msg)
		}
	}
	return newReceipt(digest, outcome, b.c.Device, b.c.Certificate, b.c.Now())
}

func (b *Inbox) openEnvelope(p []byte) (Message, error) {
	e, err := DecodeEnvelope(p)
	if err != nil {
		return Message{}, err
	}
	if e.Recipient != b.c.Identity {
		return Message{}, fault.Of(ErrSealed, "the envelope is for %s", e.Recipient)
	}
	return e.Open(b.c.SealingKey, b.c.Now())
}
