package command

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/search"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A Runner runs MongoDB command documents on a database. It keeps the cursors,
// watches, live queries and transactions that they leave open. It is safe for
// concurrent use; the caller owes Close.
type Runner struct {
	db       *db.DB
	cursors  cursors
	feeds    feeds
	sessions sessions
}

// New returns the runner of a database's commands.
func New(d *db.DB) *Runner { return &Runner{db: d} }

// DropIdle closes the cursors, watches and live queries that nobody has asked for
// more for long.
func (rn *Runner) DropIdle(now time.Time) {
	rn.dropFeeds(now.Add(-feedIdle))
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

// Close ends what commands left open. It may be called twice.
func (rn *Runner) Close() {
	rn.closeSessions()
	rn.dropFeeds(time.Now().Add(feedIdle)) // all of them
	rn.closeCursors()
}

// A commandFunc runs one command.
type commandFunc func(rn *Runner, ctx context.Context, name string, cmd bson.Raw) (bson.D, error)

func commandOf(name string) commandFunc {
	switch strings.ToLower(name) {
	case "ping":
		return func(*Runner, context.Context, string, bson.Raw) (bson.D, error) { return nil, nil }
	case "insert":
		return (*Runner).cmdInsert
	case "find":
		return (*Runner).cmdFind
	case "getmore":
		return (*Runner).cmdGetMore
	case "killcursors":
		return (*Runner).cmdKillCursors
	case "explain":
		return (*Runner).cmdExplain
	case "update":
		return (*Runner).cmdUpdate
	case "delete":
		return (*Runner).cmdDelete
	case "findandmodify":
		return (*Runner).cmdFindAndModify
	case "count":
		return (*Runner).cmdCount
	case "distinct":
		return (*Runner).cmdDistinct
	case "aggregate":
		return (*Runner).cmdAggregate
	case "listcollections":
		return (*Runner).cmdListCollections
	case "create":
		return (*Runner).cmdCreate
	case "drop":
		return (*Runner).cmdDrop
	case "collmod":
		return (*Runner).cmdCollMod
	case "validate":
		return (*Runner).cmdValidate
	case "createindexes":
		return (*Runner).cmdCreateIndexes
	case "watch":
		return (*Runner).cmdWatch
	case "live":
		return (*Runner).cmdLive
	case "refused":
		return (*Runner).cmdRefused
	case "retryrefused":
		return (*Runner).cmdRetryRefused
	case "handlerefused":
		return (*Runner).cmdHandleRefused
	case "conflicts":
		return (*Runner).cmdConflicts
	case "listindexes":
		return (*Runner).cmdListIndexes
	case "dropindexes":
		return (*Runner).cmdDropIndexes
	}
	return nil
}

// Run runs a MongoDB command document, whose first field names the command,
// and returns the reply, which says whether it failed: {ok: 1, …} or {ok: 0,
// code, codeName, errmsg}; refused writes are its writeErrors. The error is
// for what is no answer: the end of ctx or of the database.
func (rn *Runner) Run(ctx context.Context, command bson.Raw) (bson.Raw, error) {
	// A command holds documents, so it may be larger than one; its parts are
	// validated where they are used.
	if len(command) > value.MaxEncoded {
		return failure(fault.Errorf(fault.InvalidBSON, "the command is too large"))
	}
	if err := command.Validate(); err != nil {
		return failure(fault.Errorf(fault.InvalidBSON, "%v", err))
	}
	it := value.Elements(command)
	k, v, ok := it.Next()
	if !ok {
		return failure(fault.Errorf(fault.CommandNotFound, "an empty command"))
	}
	reply, err := rn.dispatch(ctx, string(k), string(v.Str()), command)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, db.ErrClosed) {
			return nil, err
		}
		return failure(err)
	}
	return bson.Marshal(append(reply, bson.E{Key: "ok", Value: 1.0}))
}

// bounded are the commands that end after maxTimeMS as a whole. Others bound
// what they read, which may go on in a getMore.
var bounded = map[string]bool{
	"insert": true, "update": true, "delete": true, "findandmodify": true, "createindexes": true, "collmod": true, "validate": true,
}

func (rn *Runner) dispatch(ctx context.Context, name, collection string, cmd bson.Raw) (bson.D, error) {
	session, number, err := sessionOf(cmd)
	if err != nil {
		return nil, err
	}
	if err := checkCommand(name, cmd); err != nil {
		return nil, err
	}
	if session != "" {
		return rn.inSession(ctx, session, number, name, cmd)
	}
	f := commandOf(name)
	if f == nil {
		return nil, fault.Errorf(fault.CommandNotFound, "no such command: '%s'", name)
	}
	if !bounded[strings.ToLower(name)] {
		return f(rn, ctx, collection, cmd)
	}
	ctx, cancel := search.WithMaxTime(ctx, maxTime(cmd))
	defer cancel()
	reply, err := f(rn, ctx, collection, cmd)
	return reply, search.TimeError(ctx, err)
}

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

func writeErrors(reply bson.D, errs []bson.D) bson.D {
	if len(errs) > 0 {
		reply = append(reply, bson.E{Key: "writeErrors", Value: errs})
	}
	return reply
}

func writeError(i int, err error) bson.D {
	c, name := codeOf(err)
	return bson.D{{Key: "index", Value: int32(i)}, {Key: "code", Value: c}, {Key: "codeName", Value: name}, {Key: "errmsg", Value: err.Error()}}
}

// list returns the documents of an array field.
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

func sub(cmd bson.Raw, field string) bson.Raw {
	if v := value.Get(cmd, field); v.IsDoc() {
		return v.Data
	}
	return nil
}

func number(cmd bson.Raw, field string) int64 {
	n, _ := value.Get(cmd, field).Raw().AsInt64OK()
	return n
}

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
