package db

import (
	"context"
	"errors"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// A commandFunc runs one command.
type commandFunc func(db *DB, ctx context.Context, name string, cmd bson.Raw) (bson.D, error)

func commandOf(name string) commandFunc {
	switch strings.ToLower(name) {
	case "ping":
		return func(*DB, context.Context, string, bson.Raw) (bson.D, error) { return nil, nil }
	case "insert":
		return (*DB).cmdInsert
	case "find":
		return (*DB).cmdFind
	case "getmore":
		return (*DB).cmdGetMore
	case "killcursors":
		return (*DB).cmdKillCursors
	case "explain":
		return (*DB).cmdExplain
	case "update":
		return (*DB).cmdUpdate
	case "delete":
		return (*DB).cmdDelete
	case "findandmodify":
		return (*DB).cmdFindAndModify
	case "count":
		return (*DB).cmdCount
	case "distinct":
		return (*DB).cmdDistinct
	case "aggregate":
		return (*DB).cmdAggregate
	case "listcollections":
		return (*DB).cmdListCollections
	case "create":
		return (*DB).cmdCreate
	case "drop":
		return (*DB).cmdDrop
	case "collmod":
		return (*DB).cmdCollMod
	case "validate":
		return (*DB).cmdValidate
	case "createindexes":
		return (*DB).cmdCreateIndexes
	case "watch":
		return (*DB).cmdWatch
	case "live":
		return (*DB).cmdLive
	case "refused":
		return (*DB).cmdRefused
	case "retryrefused":
		return (*DB).cmdRetryRefused
	case "handlerefused":
		return (*DB).cmdHandleRefused
	case "conflicts":
		return (*DB).cmdConflicts
	case "listindexes":
		return (*DB).cmdListIndexes
	case "dropindexes":
		return (*DB).cmdDropIndexes
	}
	return nil
}

// Run runs a MongoDB command document, whose first field names the command,
// and returns the reply, which says whether it failed: {ok: 1, …} or {ok: 0,
// code, codeName, errmsg}; refused writes are its writeErrors. The error is
// for what is no answer: the end of ctx or of the database.
func (db *DB) Run(ctx context.Context, command bson.Raw) (bson.Raw, error) {
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
	reply, err := db.dispatch(ctx, string(k), string(v.Str()), command)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
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

func (db *DB) dispatch(ctx context.Context, name, collection string, cmd bson.Raw) (bson.D, error) {
	session, number, err := sessionOf(cmd)
	if err != nil {
		return nil, err
	}
	if err := checkCommand(name, cmd); err != nil {
		return nil, err
	}
	if session != "" {
		return db.inSession(ctx, session, number, name, cmd)
	}
	f := commandOf(name)
	if f == nil {
		return nil, fault.Errorf(fault.CommandNotFound, "no such command: '%s'", name)
	}
	if !bounded[strings.ToLower(name)] {
		return f(db, ctx, collection, cmd)
	}
	ctx, cancel := withMaxTime(ctx, maxTime(cmd))
	defer cancel()
	reply, err := f(db, ctx, collection, cmd)
	return reply, timeError(ctx, err)
}

func failure(err error) (bson.Raw, error) {
	c, name := codeOf(err)
	reply := bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: err.Error()}, {Key: "code", Value: c}, {Key: "codeName", Value: name}}
	var misfits *MisfitError
	if errors.As(err, &misfits) {
		reply = append(reply, reportDoc(misfits.Report)...)
	}
	if errors.Is(err, ErrConflict) {
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
func (db *DB) namespace(collection string) string {
	if db.name == "" {
		return collection
	}
	return db.name + "." + collection
}
