package thread

import (
	"context"
	"errors"
	"slices"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/parallel"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/control"
	"github.com/weftdb/weft/net/internal/format"
)

// What can be checked without state is, before any lock is taken and on two cores:
// it is most of the work, and the answer is the same wherever the run comes from.
//
//	run a/7 a/8 a/9, signed at a/9
//	chain      a/8 has the hash of a/7, a/9 that of a/8; times rise
//	signature  of a/9, so of all three
//	bodies     a/8 is not what its header commits to: a/7 is good, the run ends there,
//	           unsigned (a/7 is kept, and not sent on until a signed position follows)

// A verifiedRecord has passed every check that needs no state.
type verifiedRecord struct {
	raw     format.Record
	header  *format.Header
	id      clock.RecordID
	entry   Entry           // data, if this node can read it
	control *control.Record // control
	opened  bool            // this node could read it when it was verified
	err     error           // why a data record did not open: kept, without effect
}

// A verifiedRun is the verified records of a run, from its first.
type verifiedRun struct {
	desc      format.Descriptor
	raw       []byte // descriptor
	log       clock.LogID
	records   []verifiedRecord
	signed    bool // the signature is over the last of records
	signature keys.Signature
	size      int
	stranger  bool // by a peer that is no member and no relay in use
}

// verify checks what can be checked without state: descriptor, headers, chain, the
// one signature, body roots; and opens the bodies. It returns the records before
// the first that fails, and why that failed.
func (t *Thread) verify(ctx context.Context, r format.Run) (*verifiedRun, *Rejection) {
	v := &verifiedRun{raw: append([]byte(nil), r.Descriptor...), signature: r.Signature}
	var err error
	if v.desc, err = format.DecodeDescriptor(r.Descriptor); err != nil {
		return nil, reject(clock.RecordID{}, err)
	}
	v.log = format.LogIDOf(t.id, r.Descriptor)
	if len(r.Records) == 0 {
		return nil, &Rejection{kind: fault.Malformed, ID: clock.RecordID{Log: v.log}, Reason: "run without records"}
	}
	good, rej := t.verifyChain(v, r.Records)
	if rej != nil && good < 0 {
		return nil, rej
	}
	last := &v.records[len(v.records)-1]
	// One signature for the run: each header has the hash of the one before it.
	if !format.VerifyHead(t.id, v.desc.Device, last.id.Hash, r.Signature) {
		return nil, &Rejection{kind: fault.BadSignature, ID: last.id, Reason: "the head is not signed by the log's device"}
	}
	if bad, err := t.verifyBodies(ctx, v, v.records[:good]); err != nil {
		good, rej = bad, reject(v.records[bad].id, err)
		var r *Rejection
		if errors.As(err, &r) {
			rej = r
		}
	}
	v.signed = good == len(v.records)
	v.records = v.records[:good]
	for i := range v.records {
		v.size += v.records[i].raw.Size()
	}
	return v, rej
}

// verifyChain decodes and links the headers. It returns how many records from the
// first are good, or -1 if the chain to the signed last one cannot be followed.
func (t *Thread) verifyChain(v *verifiedRun, records []format.Record) (good int, rej *Rejection) {
	v.records = make([]verifiedRecord, len(records))
	good = len(records)
	for i, raw := range records {
		h, err := format.DecodeHeader(raw.Header)
		id := clock.RecordID{Log: v.log}
		if h != nil {
			id = clock.RecordID{Log: v.log, Seq: h.Seq, Hash: format.RecordHash(t.id, raw.Header)}
		}
		if err != nil && h == nil {
			return -1, reject(id, err)
		}
		if err == nil {
			err = v.link(i, h)
		} else if linked := v.link(i, h); linked != nil {
			err = linked
		}
		if errors.Is(err, errChain) {
			return -1, &Rejection{kind: fault.BrokenChain, ID: id, Reason: err.Error(), Err: err}
		}
		if err != nil && rej == nil {
			good, rej = i, reject(id, err)
		}
		v.records[i] = verifiedRecord{raw: raw, header: h, id: id}
	}
	return good, rej
}

var errChain = fault.New(fault.BrokenChain, "records do not follow each other")

// link checks that a header follows the one before it in the run. Whether the first
// follows what is held is for follow.
func (v *verifiedRun) link(i int, h *format.Header) error {
	if h.Log != v.log {
		return fault.Of(errChain, "record of another log")
	}
	if h.Time > clock.MaxTime {
		return fault.Of(ErrClock, "record %d has a time beyond the year 9999", h.Seq)
	}
	if i == 0 {
		return nil
	}
	prev := &v.records[i-1]
	if h.Seq != prev.id.Seq+1 || h.Prev != prev.id.Hash {
		return fault.Of(errChain, "record %d after record %d", h.Seq, prev.id.Seq)
	}
	if h.Time <= prev.header.Time {
		return fault.Of(ErrClock, "record %d is not later than the one before it", h.Seq)
	}
	return nil
}

// verifyBodies checks and opens the bodies, on a few cores. It returns the first
// record whose body is not the one that its header commits to.
func (t *Thread) verifyBodies(ctx context.Context, v *verifiedRun, records []verifiedRecord) (bad int, err error) {
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	errs := make([]error, len(records))
	parallel.Do(len(records), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = t.verifyBody(v, &k, &records[i])
		}
	})
	for i, err := range errs {
		if err != nil {
			return i, err
		}
	}
	return len(records), nil
}

// verifyBody checks a body against its header and opens it. That a control record does
// not open is the sender's fault: whoever has the thread can tell. That a data record
// does not open only readers can tell, and a relay passes it on in good faith: it is
// kept, and refused when it is judged.
func (t *Thread) verifyBody(v *verifiedRun, k *format.Keys, r *verifiedRecord) error {
	b, err := format.ParseBody(r.raw.Body)
	if err != nil {
		return err
	}
	if b.Root() != r.header.Root {
		return &Rejection{kind: fault.WrongBody, ID: r.id, Reason: "the body is not the one that the header commits to"}
	}
	if v.desc.Kind == format.KindControl {
		if !slices.Equal(r.header.Epochs, t.firstEpoch()) {
			return &Rejection{kind: fault.WrongKey, ID: r.id, Reason: "control record of an unknown epoch"}
		}
		r.control, err = t.openControl(k.Service, v.desc.Device, r.id, r.header, r.raw.Body)
		r.opened = true
		return err
	}
	read, ok := k.Read(r.header.Epochs)
	if !ok {
		return nil
	}
	r.opened = true
	p, err := t.env.sealer.Open(read, format.Position{Thread: t.id, Log: r.id.Log, Seq: r.id.Seq}, b)
	if err != nil {
		r.err = err
		return nil
	}
	r.entry = Entry{ID: r.id, Time: r.header.Time, Atomic: p.Atomic, Payload: p.Payload, Snapshot: v.desc.Kind == format.KindSnapshot}
	return nil
}
