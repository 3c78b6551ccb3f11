package feed

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"

	"github.com/weftdb/weft/db/internal/keyspace"
	"github.com/weftdb/weft/db/internal/view"
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
func loadFeedID(st store.Store, sp keyspace.Space) (id feedID, err error) {
	k := sp.Key(keyspace.TagFeed)
	snap := st.Snapshot()
	defer snap.Release()
	v, err := snap.Get(k)
	if err == nil {
		if len(v) != len(id) {
			return id, keyspace.ErrCorrupt
		}
		return feedID(v), nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return id, err
	}
	if _, err := rand.Read(id[:]); err != nil {
		return id, err
	}
	tx := st.Begin()
	defer tx.Discard()
	if err := tx.Put(k, id[:]); err != nil {
		return id, err
	}
	return id, tx.Commit()
}

// A resumeToken is a bookmark in a feed:
//
//	version [1]byte   1
//	feed    [8]byte   the feed's ID
//	tip     [8]byte   of the hash of the record at it, zero at 0
//	at, ahead, gaps   uvarint
//
// in base64url without padding.
type resumeToken struct {
	feed feedID
	tip  [8]byte
	view.Bookmark
}

func (t *resumeToken) String() string {
	b := append(make([]byte, 0, 48), tokenVersion)
	b = append(append(b, t.feed[:]...), t.tip[:]...)
	b = keyspace.Uvarints(b, uint64(t.At), uint64(t.Ahead), uint64(t.Gaps))
	return base64.RawURLEncoding.EncodeToString(b)
}

// badToken is the error of a token that does not name a bookmark of this feed.
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
	if err != nil || len(b) < 1+len(t.feed)+len(t.tip) {
		return t, errToken
	}
	if b[0] != tokenVersion {
		return t, badToken("the resume token has version %d, not %d", b[0], tokenVersion)
	}
	s := keyspace.Scanner{B: b[1:]}
	copy(t.feed[:], s.Take(len(t.feed)))
	copy(t.tip[:], s.Take(len(t.tip)))
	t.At, t.Ahead, t.Gaps = int64(s.Uvarint()), int64(s.Uvarint()), int64(s.Uvarint())
	if s.Bad || len(s.B) > 0 || t.At < 0 || t.Ahead < 0 || t.Gaps < 0 || t.String() != text {
		return t, errToken
	}
	return t, nil
}

// Token names a bookmark for ResumeAfter.
func (f *Feed) Token(p view.Bookmark) (string, error) {
	h, err := f.tip(p.At)
	if err != nil {
		return "", err
	}
	t := resumeToken{feed: f.id, Bookmark: p}
	copy(t.tip[:], h[:])
	return t.String(), nil
}

// BookmarkOf returns the bookmark that a token names, if v can go on from there.
func (f *Feed) BookmarkOf(text string, v *view.View) (view.Bookmark, error) {
	t, err := parseToken(text)
	if err != nil {
		return view.Bookmark{}, err
	}
	if t.feed != f.id {
		return view.Bookmark{}, badToken("the resume token is not one of this database on this replica")
	}
	if t.At > v.N || t.Gaps > v.Gaps {
		return view.Bookmark{}, badToken("the resume token is of a later state than this database has; was it restored from a copy?")
	}
	as, err := f.journal.Arrivals(max(0, t.At-1), 1)
	if err != nil {
		return view.Bookmark{}, err
	}
	switch {
	case v.N > 0 && (len(as) == 0 || as[0].N != max(1, t.At)):
		return view.Bookmark{}, fault.Errorf(fault.HistoryLost, "the resume token is too old: the records after it are not kept any more")
	case t.At > 0 && !bytes.Equal(as[0].ID.Hash[:8], t.tip[:]) || t.At == 0 && t.tip != [8]byte{}:
		return view.Bookmark{}, badToken("the resume token is of another history than this database has; was it restored from a copy?")
	}
	return t.Bookmark, nil
}
