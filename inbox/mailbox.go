package inbox

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// Collections of a mailbox thread.
const (
	receivedCollection = "received"
	sentCollection     = "sent"
	peersCollection    = "peers"
)

// A Mailbox files a person's messages in their own mailbox thread, so that what
// one of their devices files, reads or removes is so on all. It is safe for
// concurrent use.
type Mailbox struct {
	db *db.DB
}

// A Received is a message as the mailbox holds it.
type Received struct {
	Message
	Read bool
}

// A Sent is a message that this person sent, and how far it is.
type Sent struct {
	Message
	At       string // the peer that its address named, or empty
	State    State
	Reason   string // why the last attempt failed, while it is queued
	Relay    string // the peer that took it
	Envelope []byte // until a receipt ends it
}

// OpenMailbox returns the mailbox in d, and makes its collections if there are
// none.
func OpenMailbox(ctx context.Context, d *db.DB) (*Mailbox, error) {
	infos, err := d.Collections(ctx)
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	for _, name := range []string{receivedCollection, sentCollection, peersCollection} {
		if slices.ContainsFunc(infos, func(i db.CollectionInfo) bool { return i.Name == name }) {
			continue
		}
		if err := d.CreateCollection(ctx, name, db.CollectionOptions{}); err != nil && !errors.Is(err, db.ErrExists) {
			return nil, fmt.Errorf("mailbox: %w", err)
		}
	}
	return &Mailbox{db: d}, nil
}

// The documents of the collections. A received message that was removed keeps
// its _id and time, until Expiry, so that it is not filed again.
type receivedDocument struct {
	ID      string    `bson:"_id"`
	From    string    `bson:"from,omitempty"`
	To      string    `bson:"to,omitempty"`
	Time    time.Time `bson:"time"`
	Body    []byte    `bson:"body,omitempty"`
	Read    bool      `bson:"read"`
	Removed bool      `bson:"removed"`
}

type sentDocument struct {
	ID       string    `bson:"_id"`
	From     string    `bson:"from"`
	To       string    `bson:"to"`
	At       string    `bson:"at,omitempty"`
	Time     time.Time `bson:"time"`
	Body     []byte    `bson:"body"`
	State    State     `bson:"state"`
	Reason   string    `bson:"reason,omitempty"`
	Relay    string    `bson:"relay,omitempty"`
	Envelope []byte    `bson:"envelope,omitempty"`
}

// receivedID is a message's _id: its ID and a tag of its sender, so that nobody
// can take the place of another's message by using its ID first.
func receivedID(id ID, from keys.PublicKey) string {
	h := sha256.Sum256(from[:])
	return id.String() + "." + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h[:10]))
}

// File files a message that [Envelope.Open] gave, durably and once: filed is
// false if it was filed before, also if it was removed since.
func (m *Mailbox) File(ctx context.Context, msg Message) (filed bool, err error) {
	doc := receivedDocument{
		ID: receivedID(msg.ID, msg.From), From: msg.From.DID(), To: msg.To.DID(),
		Time: msg.Time.UTC(), Body: msg.Body,
	}
	raw, err := bson.Marshal(doc)
	if err != nil {
		return false, fmt.Errorf("file: %w", err)
	}
	err = m.transact(ctx, func(tx *db.Tx) error {
		_, err := tx.Get(receivedCollection, stringValue(doc.ID))
		if filed = errors.Is(err, db.ErrNotFound); !filed {
			return err
		}
		_, err = tx.Insert(receivedCollection, raw)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("file: %w", err)
	}
	return filed, nil
}

// transact runs a transaction, again if another changed what it read.
func (m *Mailbox) transact(ctx context.Context, f func(*db.Tx) error) error {
	for {
		err := m.db.Transaction(ctx, db.TxOptions{}, f)
		if !errors.Is(err, db.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}

// ListOptions selects received messages. The zero value selects all.
type ListOptions struct {
	Unread bool // only those without a read mark
}

// List returns the received messages, the oldest first by their IDs.
func (m *Mailbox) List(ctx context.Context, o ListOptions) ([]Received, error) {
	filter := bson.D{{Key: "removed", Value: false}}
	if o.Unread {
		filter = append(filter, bson.E{Key: "read", Value: false})
	}
	return m.received(ctx, filter)
}

func (m *Mailbox) received(ctx context.Context, filter bson.D) ([]Received, error) {
	var out []Received
	err := m.find(ctx, receivedCollection, filter, func(raw bson.Raw) error {
		var d receivedDocument
		if err := bson.Unmarshal(raw, &d); err != nil {
			return fault.Of(ErrMalformed, "received message: %v", err)
		}
		msg, err := message(strings.SplitN(d.ID, ".", 2)[0], d.From, d.To, d.Time, d.Body)
		if err != nil {
			return err
		}
		out = append(out, Received{Message: msg, Read: d.Read})
		return nil
	})
	return out, err
}

// Read returns one received message; it does not mark it read. It returns
// ErrNotFound, or ErrAmbiguous if several senders used the ID.
func (m *Mailbox) Read(ctx context.Context, id ID) (Received, error) {
	s := id.String()
	list, err := m.received(ctx, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$gte", Value: s + "."}, {Key: "$lt", Value: s + "/"}}}, {Key: "removed", Value: false},
	})
	switch {
	case err != nil:
		return Received{}, err
	case len(list) == 0:
		return Received{}, fault.Of(ErrNotFound, "no message %s", id)
	case len(list) > 1:
		return Received{}, fault.Of(ErrAmbiguous, "several messages have the ID %s", id)
	}
	return list[0], nil
}

// MarkRead puts a read mark on a received message, on all of the person's
// devices.
func (m *Mailbox) MarkRead(ctx context.Context, id ID) error {
	return m.change(ctx, id, bson.D{{Key: "$set", Value: bson.D{{Key: "read", Value: true}}}})
}

// Remove removes a received message. Its ID stays known until Expiry, so that a
// copy of it is not filed again.
func (m *Mailbox) Remove(ctx context.Context, id ID) error {
	return m.change(ctx, id, bson.D{
		{Key: "$set", Value: bson.D{{Key: "removed", Value: true}}},
		{Key: "$unset", Value: bson.D{{Key: "body", Value: ""}, {Key: "from", Value: ""}, {Key: "to", Value: ""}}},
	})
}

func (m *Mailbox) change(ctx context.Context, id ID, update bson.D) error {
	r, err := m.Read(ctx, id)
	if err != nil {
		return err
	}
	return m.update(ctx, receivedCollection, receivedID(id, r.From), update)
}

func (m *Mailbox) update(ctx context.Context, collection, id string, update bson.D) error {
	f, err := bson.Marshal(bson.D{{Key: "_id", Value: id}})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	u, err := bson.Marshal(update)
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	res, err := m.db.Collection(collection).Update(ctx, f, u, db.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("update: %w", err)
	}
	if res.Matched == 0 {
		return fault.Of(ErrNotFound, "no message %s", id)
	}
	return nil
}

// Sweep forgets the IDs of removed messages that are older than Expiry at now.
func (m *Mailbox) Sweep(ctx context.Context, now time.Time) error {
	f, err := bson.Marshal(bson.D{{Key: "removed", Value: true}, {Key: "time", Value: bson.D{{Key: "$lt", Value: now.Add(-Expiry - maxSkew)}}}})
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if _, err := m.db.Collection(receivedCollection).Delete(ctx, f, true); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

// Sent returns the sent messages, the oldest first, with their states.
func (m *Mailbox) Sent(ctx context.Context) ([]Sent, error) { return m.sent(ctx, bson.D{}) }

// pending returns the sent messages whose fate is not known yet.
func (m *Mailbox) pending(ctx context.Context) ([]Sent, error) {
	return m.sent(ctx, bson.D{{Key: "state", Value: bson.D{{Key: "$in", Value: bson.A{string(Queued), string(Accepted)}}}}})
}

func (m *Mailbox) sent(ctx context.Context, filter bson.D) ([]Sent, error) {
	var out []Sent
	err := m.find(ctx, sentCollection, filter, func(raw bson.Raw) error {
		var d sentDocument
		if err := bson.Unmarshal(raw, &d); err != nil {
			return fault.Of(ErrMalformed, "sent message: %v", err)
		}
		msg, err := message(d.ID, d.From, d.To, d.Time, d.Body)
		if err != nil {
			return err
		}
		out = append(out, Sent{Message: msg, At: d.At, State: d.State, Reason: d.Reason, Relay: d.Relay, Envelope: d.Envelope})
		return nil
	})
	return out, err
}

// queue files a message that is to be sent.
func (m *Mailbox) queue(ctx context.Context, msg Message, at string, envelope []byte) error {
	raw, err := bson.Marshal(sentDocument{
		ID: msg.ID.String(), From: msg.From.DID(), To: msg.To.DID(), At: at, Time: msg.Time.UTC(),
		Body: msg.Body, State: Queued, Envelope: envelope,
	})
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if _, err := m.db.Collection(sentCollection).Insert(ctx, raw); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// progress records how far a sent message is. One whose fate is settled keeps
// its envelope no more.
func (m *Mailbox) progress(ctx context.Context, id ID, s State, relay, reason string) error {
	set := bson.D{{Key: "state", Value: string(s)}, {Key: "reason", Value: reason}}
	if relay != "" {
		set = append(set, bson.E{Key: "relay", Value: relay})
	}
	u := bson.D{{Key: "$set", Value: set}}
	if s != Queued && s != Accepted {
		u = append(u, bson.E{Key: "$unset", Value: bson.D{{Key: "envelope", Value: ""}}})
	}
	return m.update(ctx, sentCollection, id.String(), u)
}

// AddPeer records a peer that keeps this person's messages.
func (m *Mailbox) AddPeer(ctx context.Context, addr string) error {
	f, err := bson.Marshal(bson.D{{Key: "_id", Value: addr}})
	if err != nil {
		return fmt.Errorf("peer: %w", err)
	}
	return m.transact(ctx, func(tx *db.Tx) error {
		_, err := tx.Get(peersCollection, stringValue(addr))
		if errors.Is(err, db.ErrNotFound) {
			_, err = tx.Insert(peersCollection, f)
		}
		return err
	})
}

// Peers returns the multiaddrs of the peers that keep this person's messages.
func (m *Mailbox) Peers(ctx context.Context) ([]string, error) {
	var out []string
	err := m.find(ctx, peersCollection, bson.D{}, func(raw bson.Raw) error {
		if s, ok := raw.Lookup("_id").StringValueOK(); ok {
			out = append(out, s)
		}
		return nil
	})
	return out, err
}

func (m *Mailbox) find(ctx context.Context, collection string, filter bson.D, fn func(bson.Raw) error) error {
	f, err := bson.Marshal(filter)
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	order, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(1)}})
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	cur, err := m.db.Collection(collection).Find(ctx, f, db.FindOptions{Sort: order})
	if err != nil {
		return fmt.Errorf("find: %w", err)
	}
	defer cur.Close()
	for cur.Next() {
		if err := fn(cur.Raw()); err != nil {
			return err
		}
	}
	if err := cur.Err(); err != nil {
		return fmt.Errorf("find: %w", err)
	}
	return nil
}

// message puts the fields of a document back together.
func message(id, from, to string, t time.Time, body []byte) (Message, error) {
	m := Message{Time: t.UTC(), Body: body}
	var err error
	if m.ID, err = ulid.ParseStrict(id); err != nil {
		return m, fault.Of(ErrMalformed, "%q is not the ID of a message", id)
	}
	if m.From, err = keys.ParseDID(from); err != nil {
		return m, fault.Of(ErrMalformed, "message %s: sender: %v", id, err)
	}
	if m.To, err = keys.ParseDID(to); err != nil {
		return m, fault.Of(ErrMalformed, "message %s: recipient: %v", id, err)
	}
	return m, nil
}

func stringValue(s string) bson.RawValue {
	t, v, err := bson.MarshalValue(s)
	if err != nil { // cannot be for a string; a null finds nothing
		return bson.RawValue{Type: bson.TypeNull}
	}
	return bson.RawValue{Type: t, Value: v}
}
