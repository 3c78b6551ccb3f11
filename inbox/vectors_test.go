package inbox

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/weftdb/weft/internal/vectors"
	"github.com/weftdb/weft/keys"
)

// TestVectors holds the formats of this package against testdata/vectors/inbox.json.
func TestVectors(t *testing.T) {
	from, to := fixedPerson(t, 1), fixedPerson(t, 2)
	at := fixedTime().Add(123 * time.Millisecond)
	m := Message{ID: ID{1, 2, 3}, From: from.key(), To: to.key(), Time: at.UTC(), Body: []byte("hello")}
	opened := func(b []byte) (Message, error) {
		e, err := DecodeEnvelope(b)
		if err != nil {
			return Message{}, err
		}
		return e.Open(to.id.SealingKey(), at)
	}
	envelope := vectors.Random(t, "inbox", "envelope", func(b []byte) bool {
		back, err := opened(b)
		return err == nil && back.ID == m.ID && back.From == m.From && back.To == m.To && back.Time.Equal(m.Time) && bytes.Equal(back.Body, m.Body)
	}, func() []byte { return from.envelope(t, m) })
	e, err := DecodeEnvelope(envelope)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := e.Encode(); err != nil || !bytes.Equal(b, envelope) {
		t.Errorf("an envelope encodes to other bytes: %v", err)
	}
	padded, err := keys.Open(to.id.SealingKey(), info(to.key(), m.ID), nil, e.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	signedBytes, err := unpad(padded)
	if err != nil {
		t.Fatal(err)
	}
	var signed signedWire
	if err := decode(signedBytes, maxPadded, "signed message", &signed); err != nil {
		t.Fatal(err)
	}
	digest := digestOf(envelope)
	receipt, err := newReceipt(digest, OutcomeFiled, to.device, to.cert, at)
	if err != nil {
		t.Fatal(err)
	}
	var signedReceipt receiptWire
	if err := decode(receipt, maxReceipt, "receipt", &signedReceipt); err != nil {
		t.Fatal(err)
	}
	r, err := DecodeReceipt(receipt)
	if err != nil {
		t.Fatal(err)
	}
	all := []vectors.Vector{
		{Name: "envelope", Bytes: envelope, Gives: vectors.Gives{
			"digest": digest, "recipient": e.Recipient, "id": e.ID, "from": m.From, "time": keys.MillisOf(m.Time), "body": m.Body, "message": signed.Message,
			"sealed": []any{vectors.Gives{
				"secret": to.id.SealingKey().Secret().Reveal(), "info": info(to.key(), m.ID), "aad": []byte{}, "sealed": e.Sealed, "plain": padded,
			}},
			"signed": []any{vectors.Gives{"key": from.device.Public().Sign, "domain": domainMessage, "message": signed.Message, "signature": signed.Signature}},
		}},
		{
			Name: "receipt", Values: r, Bytes: receipt, Gives: vectors.Gives{"signed": []any{vectors.Gives{
				"key": to.device.Public().Sign, "domain": domainReceipt, "message": signedReceipt.Body, "signature": signedReceipt.Signature,
			}}},
			Back: func(b []byte) (any, error) { return DecodeReceipt(b) },
		},
	}
	row := registration{Version: version, Account: to.key(), Since: 7, Count: 2, Bytes: 1000, Seq: 9}
	all = append(all, vectors.Vector{
		Name: "registration", Values: row, Bytes: codec.Encode(row),
		Back: func(b []byte) (any, error) { return back[registration](b) },
	})
	// Bodies of frames, whose length and type stand before them.
	for _, f := range []struct {
		kind frameType
		body any
		back func([]byte) (any, error)
	}{
		{frameRegister, registerFrame{Credential: []byte{1}}, back[registerFrame]},
		{frameDeposit, depositFrame{Credential: []byte{1}, Envelope: []byte{2}}, back[depositFrame]},
		{frameFetch, fetchFrame{Certificate: []byte{1}, After: 7, Follow: true}, back[fetchFrame]},
		{frameAcknowledge, acknowledgeFrame{Receipts: [][]byte{{1}, {2}}}, back[acknowledgeFrame]},
		{frameStatus, statusFrame{Recipient: to.key(), Digests: []Digest{digest}}, back[statusFrame]},
		{framePresent, presentFrame{Credential: []byte{1}, Recipient: to.key()}, back[presentFrame]},
		{frameDone, emptyFrame{}, back[emptyFrame]},
		{frameItem, itemFrame{Seq: 300, Envelope: []byte{2}}, back[itemFrame]},
		{frameEnd, emptyFrame{}, back[emptyFrame]},
		{frameStates, statesFrame{States: [][]byte{{}, {0}, {1, 2}}}, back[statesFrame]},
		{frameRefusal, refusalFrame{Code: "key_revoked", Message: "no"}, back[refusalFrame]},
	} {
		var b bytes.Buffer
		if err := writeFrame(&b, f.kind, f.body); err != nil {
			t.Fatal(err)
		}
		all = append(all, vectors.Vector{
			Name: fmt.Sprintf("frame %d", f.kind), Values: f.body, Bytes: b.Bytes(),
			Back: func(b []byte) (any, error) {
				_, body, err := readFrame(bytes.NewReader(b), maxFrame)
				if err != nil {
					return nil, err
				}
				return f.back(body)
			},
		})
	}
	vectors.Check(t, "inbox", "docs/design/inbox.md", all...)
}

func back[T any](b []byte) (any, error) {
	var v T
	err := codec.Decode(b, "body", &v)
	return v, err
}
