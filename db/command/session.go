package command

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// Commands take part in a transaction by MongoDB's fields: lsid names the session,
// txnNumber the transaction, the first command has startTransaction: true, all have
// autocommit: false; commitTransaction or abortTransaction ends it. An error ends it too.
//
// The bounds are there because a transaction holds a view of the store: what others
// overwrite and delete meanwhile stays on disk until it ends. MongoDB ends one after a
// minute as well. Of a session that has none open it is remembered which one it committed
// last: a commit that is sent again, because the reply was lost, is answered again as
// MongoDB does. That is forgotten with the runner, and the oldest over maxCommitted; then
// the answer is NoSuchTransaction, and the caller has to look whether its writes are there.
const (
	maxSessions     = 100
	maxCommitted    = 1000
	maxSessionName  = 1024        // bytes of an lsid
	sessionLifetime = time.Minute // of a transaction
)

// sessions are the open transactions of commands. mu is not held while a command runs or a
// transaction ends, so a slow command of one session does not stop the others.
type sessions struct {
	mu        sync.Mutex // guards the fields below
	open      map[string]*session
	committed map[string]committed // by session, of those that have none open
	closed    bool
}

// A committed is the transaction that a session committed last.
type committed struct {
	number int64
	at     time.Time
}

// A session is the one transaction that a session has open. Its commands come one after the
// other by the lock, in no order that anybody promises, so that tx belongs to one goroutine
// at a time.
type session struct {
	number    int64       // txnNumber, which rises
	expiry    *time.Timer // ends it after sessionLifetime
	committed atomic.Bool // set under mu

	mu sync.Mutex // held while a command uses tx
	tx *db.Tx
}

// end aborts the transaction unless it has ended. It waits for the command that is running.
// It may be called by several: whoever ends the session, its timer, and Close.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tx.Abort()
	s.expiry.Stop()
}

// sessionOf returns the name of the session whose transaction cmd is part of; "" if it is
// part of none. A driver sends lsid with every command, also outside transactions, and
// txnNumber with writes that it may repeat: only autocommit says that a command is part of
// one. The name is the bytes of lsid, which is a document of the caller's choice.
func sessionOf(cmd bson.Raw) (name string, number int64, err error) {
	auto := value.Get(cmd, "autocommit")
	if !auto.Exists() {
		if value.Get(cmd, "startTransaction").Exists() {
			return "", 0, fault.Errorf(fault.InvalidOptions, "startTransaction needs autocommit: false")
		}
		return "", 0, nil
	}
	id := sub(cmd, "lsid")
	n, ok := value.Get(cmd, "txnNumber").Raw().AsInt64OK()
	if len(id) > maxSessionName {
		return "", 0, fault.Errorf(fault.InvalidOptions, "an lsid has at most %d bytes", maxSessionName)
	}
	if auto.Type != bson.TypeBoolean || auto.Bool() || id == nil || !ok {
		return "", 0, fault.Errorf(fault.InvalidOptions, "a command in a transaction has autocommit: false, lsid: {id: …} and a txnNumber")
	}
	return string(id), n, nil
}

// inSession runs a command as part of a transaction, which is found or begun under the lock
// of all sessions and then used under its own. In between another command may have ended
// it, which runIn finds. A transaction that is over, or whose command failed, is taken out
// of the list when its lock is free.
func (rn *Runner) inSession(ctx context.Context, session string, number int64, name string, cmd bson.Raw) (bson.D, error) {
	start := flag(cmd, "startTransaction", false)
	if !start && isCommit(name) && rn.sessions.hasCommitted(session, number) {
		return nil, nil
	}
	s, err := rn.session(session, number, start)
	if err != nil {
		return nil, err
	}
	ctx, cancel := search.WithMaxTime(ctx, maxTime(cmd))
	defer cancel()
	s.mu.Lock()
	reply, over, err := rn.runIn(ctx, s, name, cmd)
	s.mu.Unlock()
	err = search.TimeError(ctx, err)
	if over || err != nil {
		rn.endSession(session, s)
	}
	return reply, err
}

// session finds the transaction, or begins it. The cases, in order: a number below that of
// the open one is an old command that comes late; one that does not start and is not open
// has ended; to start the open one again is a mistake of the caller; to start a later one
// ends the open one, without writing it, as a client that went on has given it up. It
// begins with a context of its own, because it outlives the command that starts it: each
// command sets its own.
func (rn *Runner) session(name string, number int64, start bool) (*session, error) {
	var old *session
	defer func() { // after the unlock: a command of it may be running
		if old != nil {
			old.end()
		}
	}()
	rn.sessions.mu.Lock()
	defer rn.sessions.mu.Unlock()
	s := rn.sessions.open[name]
	switch {
	case rn.sessions.closed:
		return nil, db.ErrClosed
	case s != nil && number < s.number:
		return nil, fault.Errorf(fault.TransactionTooOld, "transaction %d is older than the session's, %d", number, s.number)
	case !start && (s == nil || s.number != number):
		return nil, fault.Errorf(fault.NoSuchTransaction, "the session has no transaction %d: it has ended, or took longer than %v", number, sessionLifetime)
	case !start:
		return s, nil
	case s != nil && s.number == number:
		return nil, fault.Errorf(fault.InvalidOptions, "transaction %d has begun already", number)
	case s == nil && len(rn.sessions.open) >= maxSessions:
		return nil, fault.Errorf(fault.InvalidOptions, "there are %d transactions already", maxSessions)
	case s != nil:
		old = s // a session has one at a time
	}
	tx, err := rn.db.Begin(context.Background(), db.TxOptions{})
	if err != nil {
		return nil, err
	}
	s = &session{number: number, tx: tx}
	s.expiry = time.AfterFunc(sessionLifetime, func() { rn.endSession(name, s) })
	if rn.sessions.open == nil {
		rn.sessions.open = map[string]*session{}
	}
	rn.sessions.open[name] = s
	delete(rn.sessions.committed, name)
	return s, nil
}

// isCommit reports whether a command commits a transaction.
func isCommit(name string) bool {
	c := lookup(name)
	return c != nil && c.commits
}

// hasCommitted reports whether a transaction is the last that its session committed.
func (ss *sessions) hasCommitted(name string, number int64) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	last, ok := ss.committed[name]
	return ok && last.number == number && !ss.closed
}

// remember notes what a session committed last; ss.mu is held.
func (ss *sessions) remember(name string, number int64) {
	if ss.committed == nil {
		ss.committed = map[string]committed{}
	}
	ss.committed[name] = committed{number, time.Now()}
	if len(ss.committed) <= maxCommitted {
		return
	}
	oldest := name
	for k, c := range ss.committed {
		if c.at.Before(ss.committed[oldest].at) {
			oldest = k
		}
	}
	delete(ss.committed, oldest)
}

// endSession ends the transaction s; the session may have a later one by now. Only the one
// that is still in the list is taken out; ending twice does nothing. That it was committed
// is noted under the lock under which it leaves the list, so that a commit which is sent
// again finds one or the other.
func (rn *Runner) endSession(name string, s *session) {
	rn.sessions.mu.Lock()
	if rn.sessions.open[name] == s {
		delete(rn.sessions.open, name)
	}
	if s.committed.Load() && rn.sessions.open[name] == nil && rn.sessions.committed[name].number <= s.number {
		rn.sessions.remember(name, s.number)
	}
	rn.sessions.mu.Unlock()
	s.end()
}

// closeSessions ends all transactions, and lets none begin.
func (rn *Runner) closeSessions() {
	rn.sessions.mu.Lock()
	open := rn.sessions.open
	rn.sessions.open, rn.sessions.closed = nil, true
	rn.sessions.mu.Unlock()
	for _, s := range open {
		s.end()
	}
}

// runIn runs one command in the transaction; over says that it ended it. A refused write
// ends it, too, but is told as the command's writeErrors, as drivers expect. Any other
// error ends it as well, which is MongoDB's rule: a client that goes on after one is told
// NoSuchTransaction. A second commit that waited for the first is answered as that was. The
// session's mu is held; ctx bounds what tx does until the next command.
func (rn *Runner) runIn(ctx context.Context, s *session, name string, cmd bson.Raw) (reply bson.D, over bool, err error) {
	tx := s.tx
	if s.committed.Load() && isCommit(name) {
		return nil, true, nil
	}
	if tx.Ended() {
		return nil, true, fault.Errorf(fault.NoSuchTransaction, "the transaction has ended: it took longer than %v", sessionLifetime)
	}
	it := value.Elements(cmd)
	k, v, _ := it.Next()
	tx.SetContext(ctx)
	c := lookup(name)
	switch {
	case c != nil && c.ends != nil:
		err = c.ends(tx)
		s.committed.Store(err == nil && isCommit(name))
		return nil, true, err
	case c != nil && c.inTx != nil:
		reply, err = c.inTx(rn, tx, string(v.Str()), cmd)
	default:
		err = fault.Errorf(fault.NotInTransaction, "%s cannot be part of a transaction", k)
	}
	var w *db.WriteError
	if errors.As(err, &w) {
		return writeErrors(bson.D{{Key: "n", Value: int32(0)}}, []bson.D{writeError(w.Index, w.Err)}), true, nil
	}
	return reply, err != nil, err
}

// txInsert is insert in a transaction; the tx functions below are the same for theirs. They
// write into the transaction and nowhere else. ordered does not matter there, because the
// first refusal ends it.
func (rn *Runner) txInsert(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	docs, err := list(cmd, "documents")
	if err != nil {
		return nil, err
	}
	ids, err := tx.Insert(coll, docs)
	return bson.D{{Key: "n", Value: int32(len(ids))}}, err
}

// txFind answers with one batch: a transaction has no cursors. More than one reply holds is
// an error and not a shorter answer: nobody could ask for the rest.
func (rn *Runner) txFind(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	docs, err := tx.Find(coll, sub(cmd, "filter"), findOptions(cmd))
	if err != nil {
		return nil, err
	}
	out, size := bson.A{}, 0
	for _, d := range docs {
		if size += len(d); size > maxBatch {
			return nil, fault.Errorf(fault.TooLarge, "the result has more than %d MiB, which is one reply: use a limit", maxBatch>>20)
		}
		out = append(out, d)
	}
	return rn.oneBatch(coll, out), nil
}

// txCount reads the documents: the keys of an index, and the count that the database keeps,
// do not know what the transaction has written.
func (rn *Runner) txCount(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	o := countOptions(cmd)
	docs, err := tx.Find(coll, sub(cmd, "query"), db.FindOptions{Skip: o.Skip, Limit: o.Limit, Hint: o.Hint, MaxTime: o.MaxTime})
	return bson.D{{Key: "n", Value: int64(len(docs))}}, err
}

// txUpdate ends at the first refused statement: a transaction writes all or nothing.
func (rn *Runner) txUpdate(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	ups, err := statements(cmd, "updates", parseUpdate)
	if err != nil {
		return nil, err
	}
	var total updateTotal
	for i, s := range ups {
		r, err := tx.Update(coll, s.filter, s.update, s.o)
		if err != nil {
			return nil, err
		}
		total.add(i, r)
	}
	return total.reply(), nil
}

func (rn *Runner) txDelete(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	ds, err := statements(cmd, "deletes", parseDelete)
	if err != nil {
		return nil, err
	}
	n := int64(0)
	for _, s := range ds {
		k, err := tx.Delete(coll, s.filter, s.many)
		if err != nil {
			return nil, err
		}
		n += k
	}
	return bson.D{{Key: "n", Value: int32(n)}}, nil
}

func (rn *Runner) txFindAndModify(tx *db.Tx, coll string, cmd bson.Raw) (bson.D, error) {
	s, err := parseModify(cmd)
	if err != nil {
		return nil, err
	}
	m, err := tx.FindAndModify(coll, s.filter, s.change, s.o)
	if err != nil {
		return nil, err
	}
	return modifiedReply(&m, s.o), nil
}
