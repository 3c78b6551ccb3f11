package thread

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// openControl opens a control record.
func (t *Thread) openControl(service format.SecretKey, device keys.PublicKey, id clock.RecordID, h *format.Header, body []byte) (*controlRecord, error) {
	b, err := format.ParseBody(body)
	if err != nil {
		return nil, err
	}
	p, err := t.env.codec.Open(service, format.Place{Thread: t.id, Log: id.Log, Seq: id.Seq}, b)
	if err != nil {
		return nil, err
	}
	payload, err := format.DecodeControl(p.Payload)
	if err != nil {
		return nil, err
	}
	c := &controlRecord{id: id, time: h.Time, device: device, parents: slices.Clone(h.Control), payload: payload}
	if h.Seq > 1 && !slices.Contains(c.parents, h.Prev) {
		c.parents = append(c.parents, h.Prev)
	}
	return c, nil
}
