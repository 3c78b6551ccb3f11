package rpc

import (
	"context"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/oklog/ulid/v2"

	"github.com/weftdb/weft/inbox"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Setup makes the mailbox and has the node's relays keep mail for it. It does if one of
// them does; what the others said is in the node's log.
func (s inboxService) Setup(ctx context.Context, _ *connect.Request[weftv1.SetupInboxRequest]) (*connect.Response[weftv1.SetupInboxResponse], error) {
	a, err := s.n.SetupInbox(ctx)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.SetupInboxResponse{Address: a.String()}), nil
}

// Send queues the message durably and tries once to deliver it. If that attempt fails the
// message stays queued and is tried again in the background, so an answer with the state
// queued, and the reason, is no error. The state is read back from the mailbox, which is
// where the attempt noted it.
func (s inboxService) Send(ctx context.Context, r *connect.Request[weftv1.SendRequest]) (*connect.Response[weftv1.SendResponse], error) {
	to, err := inbox.ParseAddress(r.Msg.GetTo())
	if err != nil {
		return nil, fault.Of(node.ErrInvalid, "invalid address: %v", err)
	}
	b, err := s.n.Inbox(ctx)
	if err != nil {
		return nil, err
	}
	m, err := b.Send(ctx, to, []byte(r.Msg.GetText()))
	if err != nil {
		return nil, err
	}
	if err := b.Flush(ctx); err != nil {
		return nil, err
	}
	out := &weftv1.SendResponse{Id: m.ID.String(), State: string(inbox.Queued)}
	sent, err := b.Mailbox().Sent(ctx)
	if err != nil {
		return nil, err
	}
	for _, x := range sent {
		if x.ID == m.ID {
			out.State, out.Reason = string(x.State), x.Reason
		}
	}
	return connect.NewResponse(out), nil
}

// receivedMessage has the text only where it was asked for; lists have sizes. A body is
// bytes of any kind. The API gives it as text and refuses one that is none, but only where
// it is read: a list shows it.
func receivedMessage(r inbox.Received, text bool) (*weftv1.Message, error) {
	m := &weftv1.Message{Id: r.ID.String(), From: r.From.DID(), To: r.To.DID(), Time: stamp(r.Time), Read: r.Read, Size: int64(len(r.Body))}
	if text {
		if !utf8.Valid(r.Body) {
			return nil, fault.Of(inbox.ErrMalformed, "the message is not text")
		}
		m.Text = string(r.Body)
	}
	return m, nil
}

// List waits until there are as many messages as the call wants, or it ends: a script can
// wait for mail without asking again and again.
func (s inboxService) List(ctx context.Context, r *connect.Request[weftv1.ListMessagesRequest]) (*connect.Response[weftv1.ListMessagesResponse], error) {
	list, err := s.n.Messages(ctx, int(r.Msg.GetWait()))
	if err != nil {
		return nil, err
	}
	var out weftv1.ListMessagesResponse
	for _, x := range list {
		m, err := receivedMessage(x, false)
		if err != nil {
			return nil, err
		}
		out.Messages = append(out.Messages, m)
	}
	return connect.NewResponse(&out), nil
}

// mailbox reads the ID of a message and opens the inbox, in this order: a wrong ID makes no
// mailbox.
func (s inboxService) mailbox(ctx context.Context, id string) (*inbox.Mailbox, inbox.ID, error) {
	parsed, err := ulid.ParseStrict(id)
	if err != nil {
		return nil, parsed, fault.Of(node.ErrInvalid, "invalid message ID %.60q", id)
	}
	b, err := s.n.Inbox(ctx)
	if err != nil {
		return nil, parsed, err
	}
	return b.Mailbox(), parsed, nil
}

// Read marks the message as read only when it can be told, and only once: each mark is a
// write.
func (s inboxService) Read(ctx context.Context, r *connect.Request[weftv1.ReadMessageRequest]) (*connect.Response[weftv1.ReadMessageResponse], error) {
	box, id, err := s.mailbox(ctx, r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	x, err := box.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	m, err := receivedMessage(x, true)
	if err != nil {
		return nil, err
	}
	if !x.Read {
		if err := box.MarkRead(ctx, id); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&weftv1.ReadMessageResponse{Message: m}), nil
}

func (s inboxService) Remove(ctx context.Context, r *connect.Request[weftv1.RemoveMessageRequest]) (*connect.Response[weftv1.RemoveMessageResponse], error) {
	box, id, err := s.mailbox(ctx, r.Msg.GetId())
	if err != nil {
		return nil, err
	}
	if err := box.Remove(ctx, id); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RemoveMessageResponse{}), nil
}

// Sent is the way to learn what became of a message later: Send answers after the first
// attempt.
func (s inboxService) Sent(ctx context.Context, _ *connect.Request[weftv1.SentRequest]) (*connect.Response[weftv1.SentResponse], error) {
	b, err := s.n.Inbox(ctx)
	if err != nil {
		return nil, err
	}
	all, err := b.Mailbox().Sent(ctx)
	if err != nil {
		return nil, err
	}
	var out weftv1.SentResponse
	for _, x := range all {
		out.Messages = append(out.Messages, &weftv1.SentMessage{
			Id: x.ID.String(), To: x.To.DID(), At: x.At, Time: stamp(x.Time), State: string(x.State), Reason: x.Reason, Size: int64(len(x.Body)),
		})
	}
	return connect.NewResponse(&out), nil
}

// Watch sends the messages that are there, and then each as it comes. The empty message
// comes first: a message that arrives after it is sent is seen. With unread, one that was
// read before it was told is passed over, and is not told later. The end of the node is
// closed, as in every stream.
func (s inboxService) Watch(ctx context.Context, r *connect.Request[weftv1.WatchInboxRequest], out *connect.ServerStream[weftv1.WatchInboxResponse]) error {
	if err := out.Send(&weftv1.WatchInboxResponse{}); err != nil {
		return err
	}
	err := s.n.WatchMessages(ctx, func(x inbox.Received) error {
		if x.Read && r.Msg.GetUnread() {
			return nil
		}
		m, err := receivedMessage(x, false)
		if err != nil {
			return err
		}
		return out.Send(&weftv1.WatchInboxResponse{Message: m})
	})
	if ctx.Err() != nil {
		return s.n.Err()
	}
	return err
}
