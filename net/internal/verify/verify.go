// Package verify checks what can be checked of a run without state: descriptor, chain,
// signature, body roots; and opens the bodies. It knows no thread: what it needs of one is
// in an [Opener].
package verify

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

// A Record has passed every check that needs no state.
type Record struct {
	Raw     format.Record
	Header  *format.Header
	ID      clock.RecordID
	Entry   format.Entry    // data, if this node can read it
	Control *control.Record // control
	Opened  bool            // this node could read it when it was verified
	Err     error           // why a data record did not open: kept, without effect
}

// A Run is the verified records of a run, from its first.
type Run struct {
	Desc      format.Descriptor
	Raw       []byte // descriptor
	Log       clock.LogID
	Records   []Record
	Signed    bool // the signature is over the last of Records
	Signature keys.Signature
	Size      int // of Records, in bytes

	Stranger bool // for its caller: who brought it is no member and no relay in use
}

// Run checks what can be checked without state: descriptor, headers, chain, the
// one signature, body roots; and opens the bodies. It returns the records before
// the first that fails, and why that failed.
func (o *Opener) Run(ctx context.Context, r format.Run) (*Run, *Rejection) {
	v := &Run{Raw: append([]byte(nil), r.Descriptor...), Signature: r.Signature}
	var err error
	if v.Desc, err = format.DecodeDescriptor(r.Descriptor); err != nil {
		return nil, Reject(clock.RecordID{}, err)
	}
	v.Log = format.LogIDOf(o.Thread, r.Descriptor)
	if len(r.Records) == 0 {
		return nil, Refuse(fault.Malformed, clock.RecordID{Log: v.Log}, "run without records", nil)
	}
	good, rej := o.verifyChain(v, r.Records)
	if rej != nil && good < 0 {
		return nil, rej
	}
	last := &v.Records[len(v.Records)-1]
	// One signature for the run: each header has the hash of the one before it.
	if !format.VerifyHead(o.Thread, v.Desc.Device, last.ID.Hash, r.Signature) {
		return nil, Refuse(fault.BadSignature, last.ID, "the head is not signed by the log's device", nil)
	}
	if bad, err := o.verifyBodies(ctx, v, v.Records[:good]); err != nil {
		good, rej = bad, Reject(v.Records[bad].ID, err)
		var r *Rejection
		if errors.As(err, &r) {
			rej = r
		}
	}
	v.Signed = good == len(v.Records)
	v.Records = v.Records[:good]
	for i := range v.Records {
		v.Size += v.Records[i].Raw.Size()
	}
	return v, rej
}

// verifyChain decodes and links the headers. It returns how many records from the
// first are good, or -1 if the chain to the signed last one cannot be followed.
func (o *Opener) verifyChain(v *Run, records []format.Record) (good int, rej *Rejection) {
	v.Records = make([]Record, len(records))
	good = len(records)
	for i, raw := range records {
		h, err := format.DecodeHeader(raw.Header)
		id := clock.RecordID{Log: v.Log}
		if h != nil {
			id = clock.RecordID{Log: v.Log, Seq: h.Seq, Hash: format.RecordHash(o.Thread, raw.Header)}
		}
		if err != nil && h == nil {
			return -1, Reject(id, err)
		}
		if err == nil {
			err = v.link(i, h)
		} else if linked := v.link(i, h); linked != nil {
			err = linked
		}
		if errors.Is(err, errChain) {
			return -1, Refuse(fault.BrokenChain, id, err.Error(), err)
		}
		if err != nil && rej == nil {
			good, rej = i, Reject(id, err)
		}
		v.Records[i] = Record{Raw: raw, Header: h, ID: id}
	}
	return good, rej
}

var errChain = fault.New(fault.BrokenChain, "records do not follow each other")

// link checks that a header follows the one before it in the run. Whether the first
// follows what is held is for the thread.
func (v *Run) link(i int, h *format.Header) error {
	if h.Log != v.Log {
		return fault.Of(errChain, "record of another log")
	}
	if h.Time > clock.MaxTime {
		return fault.Of(control.ErrClock, "record %d has a time beyond the year 9999", h.Seq)
	}
	if i == 0 {
		return nil
	}
	prev := &v.Records[i-1]
	if h.Seq != prev.ID.Seq+1 || h.Prev != prev.ID.Hash {
		return fault.Of(errChain, "record %d after record %d", h.Seq, prev.ID.Seq)
	}
	if h.Time <= prev.Header.Time {
		return fault.Of(control.ErrClock, "record %d is not later than the one before it", h.Seq)
	}
	return nil
}

// verifyBodies checks and opens the bodies, on a few cores. It returns the first
// record whose body is not the one that its header commits to.
func (o *Opener) verifyBodies(ctx context.Context, v *Run, records []Record) (bad int, err error) {
	errs := make([]error, len(records))
	parallel.Do(len(records), func(i int) {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = o.verifyBody(v, &records[i])
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
func (o *Opener) verifyBody(v *Run, r *Record) error {
	b, err := format.ParseBody(r.Raw.Body)
	if err != nil {
		return err
	}
	if b.Root() != r.Header.Root {
		return Refuse(fault.WrongBody, r.ID, "the body is not the one that the header commits to", nil)
	}
	if v.Desc.Kind == format.KindControl {
		if !slices.Equal(r.Header.Epochs, o.FirstEpoch) {
			return Refuse(fault.WrongKey, r.ID, "control record of an unknown epoch", nil)
		}
		r.Control, err = o.Control(v.Desc.Device, r.ID, r.Header, r.Raw.Body)
		r.Opened = true
		return err
	}
	read, ok := o.Keys.Read(r.Header.Epochs)
	if !ok {
		return nil
	}
	r.Opened = true
	p, err := o.Sealer.Open(read, o.position(r.ID), b)
	if err != nil {
		r.Err = err
		return nil
	}
	r.Entry = format.Entry{ID: r.ID, Time: r.Header.Time, Atomic: p.Atomic, Payload: p.Payload, Snapshot: v.Desc.Kind == format.KindSnapshot}
	return nil
}
