package db

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

const (
	tokenVersion = 1
	maxToken     = 128 // characters
)

// A feedID tells the feeds of replicas apart: each has an order of its own.
type feedID [8]byte

// loadFeedID reads the feed's ID, or makes one. It needs no sync: a token is told
// after a later commit that is synced.
func (db *DB) loadFeedID(r store.Reader) error {
	k := db.key(tagFeed)
	v, err := r.Get(k)
	if err == nil {
		if len(v) != len(db.feedID) {
			return errCorrupt
		}
		copy(db.feedID[:], v)
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if _, err := rand.Read(db.feedID[:]); err != nil {
		return err
	}
	tx := db.store.Begin()
	defer tx.Discard()
	if err := tx.Put(k, db.feedID[:]); err != nil {
		return err
	}
	return tx.Commit()
}

// A resumeToken is a place in a feed:
//
//	version [1]byte   1
//	feed    [8]byte   the feed's ID
//	tip     [8]byte   of the hash of the record at the place, zero at 0
//	at, ahead, gaps   uvarint
//
// in base64url without padding.
type resumeToken struct {
	feed feedID
	tip  [8]byte
	place
}

func (t *resumeToken) String() string {
	b := append(make([]byte, 0, 48), tokenVersion)
	b = append(append(b, t.feed[:]...), t.tip[:]...)
	b = uvarints(b, uint64(t.at), uint64(t.ahead), uint64(t.gaps))
	return base64.RawURLEncoding.EncodeToString(b)
}

func badToken(format string, args ...any) error {
	return fault.Errorf(fault.InvalidResumeToken, format, args...)
}

var errToken = badToken("the resume token is malformed")

// parseToken reads a token; only what String gives is one.
func parseToken(text string) (t resumeToken, err error) {
	if len(text) > maxToken {
		return t, errToken
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) == 0 {
		return t, errToken
	}
	if b[0] != tokenVersion {
		return t, badToken("the resume token has version %d, not %d", b[0], tokenVersion)
	}
	s := scanner{b: b[1:]}
	copy(t.feed[:], s.take(len(t.feed)))
	copy(t.tip[:], s.take(len(t.tip)))
	t.at, t.ahead, t.gaps = int64(s.uvarint()), int64(s.uvarint()), int64(s.uvarint())
	if s.bad || len(s.b) > 0 || t.at < 0 || t.ahead < 0 || t.gaps < 0 || t.String() != text {
		return t, errToken
	}
	return t, nil
}

// token names a place for ResumeAfter.
func (db *DB) token(p place) (string, error) {
	h, err := db.tip(p.at)
	if err != nil {
		return "", err
	}
	t := resumeToken{feed: db.feedID, place: p}
	copy(t.tip[:], h[:])
	return t.String(), nil
}

// placeOf returns the place that a token names, if v can go on from there.
func (db *DB) placeOf(text string, v *view) (place, error) {
	t, err := parseToken(text)
	if err != nil {
		return place{}, err
	}
	if t.feed != db.feedID {
		return place{}, badToken("the resume token is not one of this database on this replica")
	}
	if t.at > v.n || t.gaps > v.gaps {
		return place{}, badToken("the resume token is of a later state than this database has; was it restored from a copy?")
	}
	as, err := db.journal.Arrivals(max(0, t.at-1), 1)
	if err != nil {
		return place{}, err
	}
	switch {
	case v.n > 0 && (len(as) == 0 || as[0].N != max(1, t.at)):
		return place{}, fault.Errorf(fault.HistoryLost, "the resume token is too old: the records after it are not kept any more")
	case t.at > 0 && !bytes.Equal(as[0].ID.Hash[:8], t.tip[:]) || t.at == 0 && t.tip != [8]byte{}:
		return place{}, badToken("the resume token is of another history than this database has; was it restored from a copy?")
	}
	return t.place, nil
}

// gap notes that the fold changed documents of c that the records do not name,
// so that whoever reads on from the journal is told.
func (b *batch) gap(c *coll) {
	if _, ok := b.gapped[c.num]; !ok {
		b.meta.gaps++
		b.gapped[c.num] = b.meta.gaps
	}
}

// maxGaps bounds the gaps that one transaction writes; more become one of all
// collections.
const maxGaps = 100

// saveGaps writes the last gap of each collection; 0 is any.
func (b *batch) saveGaps() error {
	if len(b.gapped) > maxGaps {
		b.gapped = map[uint32]int64{0: b.meta.gaps}
	}
	for c, n := range b.gapped {
		if err := b.tx.Put(b.db.key(tagGap, num(c)), uvarints(nil, uint64(n))); err != nil {
			return err
		}
	}
	return nil
}

// gapsSince returns the collections with a gap after the given one; "" is any.
func (v *view) gapsSince(db *DB, gaps int64) (colls []string, err error) {
	names := map[uint32]string{0: ""}
	for name, c := range v.cat.colls {
		names[c.num] = name
	}
	p := db.key(tagGap)
	it := v.snap.Iterate(store.Prefix(p))
	defer it.Close()
	for ; it.Valid(); it.Next() {
		val, err := it.Value()
		if err != nil {
			return nil, err
		}
		c, n := scanner{b: it.Key()[len(p):]}, scanner{b: val}
		i, last := uint32(c.uvarint()), n.uvarint()
		if c.bad || n.bad {
			return nil, errCorrupt
		}
		if name, ok := names[i]; ok && int64(last) > gaps {
			colls = append(colls, name)
		}
	}
	if len(colls) == 0 {
		colls = []string{""} // of before gaps named their collections
	}
	return colls, it.Err()
}

// notedKey is the key under which the feed finds a refusal that was noted at
// arrival n.
func (db *DB) notedKey(n int64, r ref) []byte {
	return r.append(db.key(tagNoted, binary.BigEndian.AppendUint64(nil, uint64(n))))
}
