// Package command runs MongoDB command documents, such as {find: "cities", filter:
// {…}}, on a database.
//
//	Runner ── table of commands      name, arguments, what runs it, in a transaction, explained
//	  ├────── cursors                of find and aggregate: what getMore reads on
//	  ├────── subscriptions          of watch and live
//	  └────── sessions               transactions by lsid and txnNumber
//
// A reply says by MongoDB's code and name whether a command failed; both derive from
// the kind of the error by one table (mongocodes.go). Commands are refused for
// fields that they do not know.
package command

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Runner runs MongoDB command documents on a database. It keeps the cursors, watches,
// live queries and transactions that they leave open. It is safe for concurrent use; the
// caller owes Close. Its parts have locks of their own, of which none is taken under
// another's; only the lock of one session is held while a command runs.
type Runner struct {
	db            *db.DB
	cursors       cursors
	subscriptions subscriptions
	sessions      sessions
}

// New returns the runner of a database's commands.
func New(d *db.DB) *Runner { return &Runner{db: d} }

// DropIdle closes the cursors, watches and live queries that nobody has asked for more for
// long. It has two callers: the timer of the cursors, and whoever wants the database out of
// memory, because what is open here keeps it in use.
func (rn *Runner) DropIdle(now time.Time) {
	rn.dropSubscriptions(now.Add(-subscriptionIdle))
	rn.cursors.tick(now)
}

// Cursors returns how many cursors commands have left open, and about how many
// bytes they hold.
func (rn *Runner) Cursors() (open int, bytes int64) {
	c := &rn.cursors
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open), c.memory
}

// Close ends what commands left open. It may be called twice. Open transactions are aborted
// and none begins any more. A cursor or subscription that a getMore is reading is
// not in its list; that getMore closes it when it finds the list closed.
func (rn *Runner) Close() {
	rn.closeSessions()
	rn.closeSubscriptions()
	rn.closeCursors()
}

// Run runs a MongoDB command document, whose first field names the command, and returns the
// reply, which says whether it failed: {ok: 1, …} or {ok: 0, code, codeName, errmsg};
// refused writes are its writeErrors. The error is for what is no answer: the end of ctx or
// of the database. A field that stands twice counts where it stands first. The reply is a
// document of the caller's.
func (rn *Runner) Run(ctx context.Context, command bson.Raw) (bson.Raw, error) {
	reply, _, err := rn.Reply(ctx, command)
	return reply, err
}

// Reply is [Runner.Run] that also returns the error which a reply with ok: 0 tells: its
// kind says more than MongoDB's code, which several kinds share.
func (rn *Runner) Reply(ctx context.Context, command bson.Raw) (reply bson.Raw, told, err error) {
	done, told := rn.reply(ctx, command)
	switch {
	case told == nil:
		reply, err = bson.Marshal(append(done, bson.E{Key: "ok", Value: 1.0}))
	case ctx.Err() != nil || errors.Is(told, db.ErrClosed):
		return nil, nil, told
	default:
		reply, err = failure(told)
	}
	return reply, told, err
}

// reply validates a command and runs it.
func (rn *Runner) reply(ctx context.Context, command bson.Raw) (bson.D, error) {
	// A command holds documents, so it may be larger than one; its parts are
	// validated where they are used.
	if len(command) > value.MaxEncoded {
		return nil, fault.Errorf(fault.InvalidBSON, "the command is too large")
	}
	if err := command.Validate(); err != nil {
		return nil, fault.Errorf(fault.InvalidBSON, "%v", err)
	}
	it := value.Elements(command)
	k, v, ok := it.Next()
	if !ok {
		return nil, fault.Errorf(fault.CommandNotFound, "an empty command")
	}
	return rn.dispatch(ctx, string(k), string(v.Str()), command)
}

// dispatch checks the fields of a command, and runs it, in a transaction if it says that it
// is part of one. A field that it does not know is refused before a transaction is touched.
// A name that the table lacks is told only after the session was looked at: in a
// transaction it is OperationNotSupportedInTransaction and ends that, as any error does,
// elsewhere CommandNotFound. maxTimeMS bounds here what is over when the command is; a find
// or aggregate bounds its own reading, because a getMore goes on with what is left.
func (rn *Runner) dispatch(ctx context.Context, name, arg string, cmd bson.Raw) (bson.D, error) {
	session, number, err := sessionOf(cmd)
	if err != nil {
		return nil, err
	}
	c := lookup(name)
	if c != nil {
		if err := c.check(name, cmd); err != nil {
			return nil, err
		}
	}
	if session != "" {
		return rn.inSession(ctx, session, number, name, cmd)
	}
	if c == nil || c.run == nil {
		return nil, fault.Errorf(fault.CommandNotFound, "no such command: '%s'", name)
	}
	if !c.bounded {
		return c.run(rn, ctx, arg, cmd)
	}
	ctx, cancel := search.WithMaxTime(ctx, maxTime(cmd))
	defer cancel()
	reply, err := c.run(rn, ctx, arg, cmd)
	return reply, search.TimeError(ctx, err)
}

// failure is the reply of a command that failed: MongoDB's code, its name, the sentence.
// Two errors carry more: documents that do not fit a new schema are listed, and a conflict
// has the label by which drivers know that the whole transaction may be run again. An error
// that is none of ours is InternalError.
func failure(err error) (bson.Raw, error) {
	c, name := codeOf(err)
	reply := bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: err.Error()}, {Key: "code", Value: c}, {Key: "codeName", Value: name}}
	var misfits *db.MisfitError
	if errors.As(err, &misfits) {
		reply = append(reply, reportDoc(misfits.Report)...)
	}
	if errors.Is(err, db.ErrConflict) {
		reply = append(reply, bson.E{Key: "errorLabels", Value: bson.A{"TransientTransactionError"}}) // run it again
	}
	return bson.Marshal(reply)
}

// writeErrors appends the refused operations to a reply, if there are any. Such a reply has
// ok: 1, because the command ran: that is how MongoDB tells a refusal of one document from
// a failure of the command, and drivers still read n.
func writeErrors(reply bson.D, errs []bson.D) bson.D {
	if len(errs) > 0 {
		reply = append(reply, bson.E{Key: "writeErrors", Value: errs})
	}
	return reply
}

// writeError is one of them: i is the operation's place in the command.
func writeError(i int, err error) bson.D {
	c, name := codeOf(err)
	return bson.D{{Key: "index", Value: int32(i)}, {Key: "code", Value: c}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: err.Error()}}
}

// list returns the documents of an array field. The documents are parts of cmd, not copies,
// and are not validated deeper than that they are documents. A field that is missing is an
// error, unlike an array that is empty.
func list(cmd bson.Raw, field string) ([]bson.Raw, error) {
	a := value.Get(cmd, field)
	if !a.IsArray() {
		return nil, fault.Errorf(fault.FailedToParse, "the command needs an array %q", field)
	}
	var out []bson.Raw
	it := value.Elements(a.Data)
	for _, v, ok := it.Next(); ok; _, v, ok = it.Next() {
		if !v.IsDoc() {
			return nil, fault.Errorf(fault.TypeMismatch, "%q must hold documents", field)
		}
		out = append(out, v.Data)
	}
	return out, nil
}

// sub returns a field that is a document; nil if there is none. That it is one was checked
// by the table. What it returns is a part of cmd. A null is taken for no document, as
// drivers send null for an option that is not set.
func sub(cmd bson.Raw, field string) bson.Raw {
	if v := value.Get(cmd, field); v.IsDoc() {
		return v.Data
	}
	return nil
}

// number returns a field that is a number; 0 if there is none. The table has refused
// fractions, so nothing is lost here; a field that it lets be of any type and that is no
// number is 0.
func number(cmd bson.Raw, field string) int64 {
	n, _ := value.Get(cmd, field).Raw().AsInt64OK()
	return n
}

// flag returns a field that is a boolean or a number; def if there is none.
func flag(cmd bson.Raw, field string, def bool) bool {
	v := value.Get(cmd, field)
	if !v.Exists() {
		return def
	}
	return truthy(v)
}

// namespace returns what a reply calls a collection: database.collection.
func (rn *Runner) namespace(collection string) string {
	return rn.db.Namespace(collection)
}
