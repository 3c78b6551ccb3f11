package net

import (
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/keys"
)

// openControl opens a control record.
func (t *replica) openControl(service secretKey, device keys.PublicKey, id clock.RecordID, h *header, body []byte) (*controlRecord, error) {
	b, err := parseBody(body)
	if err != nil {
		return nil, err
	}
	p, err := t.env.codec.open(service, place{t.id, id.Log, id.Seq}, b)
	if err != nil {
		return nil, err
	}
	payload, err := decodeControl(p.Payload)
	if err != nil {
		return nil, err
	}
	c := &controlRecord{id: id, time: h.Time, device: device, parents: slices.Clone(h.Control), payload: payload}
	if h.Seq > 1 && !slices.Contains(c.parents, h.Prev) {
		c.parents = append(c.parents, h.Prev)
	}
	return c, nil
}
