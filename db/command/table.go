package command

import (
	"context"
	"strings"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
)

// A spec is all that is known of a command: whoever adds one adds a row to the table, and
// the functions that it names. A command of MongoDB without a row does not exist here,
// which its error says.
type spec struct {
	name  string             // as MongoDB writes it; commands may be written in other capitals
	first argKind            // of the field that names it
	args  map[string]argKind // of the others, besides commonFields

	// run runs it outside a transaction; nil if it is only part of one. arg is the
	// value of the field that names it, if that is a string.
	run func(rn *Runner, ctx context.Context, arg string, cmd bson.Raw) (bson.D, error)
	// inTx runs it in a transaction; nil if it cannot be part of one.
	inTx func(rn *Runner, tx *db.Tx, arg string, cmd bson.Raw) (bson.D, error)
	// ends ends the transaction that it is part of. commits says that its writes are kept,
	// and that it is answered again when it is sent again.
	ends    func(tx *db.Tx) error
	commits bool
	// explain tells for the command explain how it would run; run says to do it and count.
	// nil if explain does not know it.
	explain func(rn *Runner, ctx context.Context, arg string, cmd bson.Raw, run bool) (bson.D, error)
	// bounded says that maxTimeMS bounds it as a whole. Others bound what they
	// read, which may go on in a getMore.
	bounded bool
}

var (
	// The table is made at its first use: as a variable it would be a cycle, because the
	// commands that it names look others up in it (explain, transactions).
	tableOnce sync.Once
	table     map[string]*spec // by name in lower case
)

// lookup returns what is known of a command; nil for nothing.
func lookup(name string) *spec {
	tableOnce.Do(func() {
		table = map[string]*spec{}
		for _, c := range specs() {
			table[strings.ToLower(c.name)] = &c
		}
	})
	return table[strings.ToLower(name)]
}

// specs is the table of commands. The order has no meaning. watch, live, refused,
// retryRefused, handleRefused and conflicts are ours, as are some fields of create, collMod
// and validate; all others are MongoDB's.
func specs() []spec {
	return []spec{
		{
			name: "ping", first: anyArg, run: func(*Runner, context.Context, string, bson.Raw) (bson.D, error) { return nil, nil },
		},
		{
			name: "insert", first: nameArg, run: (*Runner).cmdInsert, inTx: (*Runner).txInsert, bounded: true,
			args: map[string]argKind{
				"documents": anyArg, "ordered": boolArg, "bypassDocumentValidation": offArg,
			},
		},
		{
			name: "update", first: nameArg, run: (*Runner).cmdUpdate, inTx: (*Runner).txUpdate, explain: explaining(explainUpdate), bounded: true,
			args: map[string]argKind{
				"updates": anyArg, "ordered": boolArg, "bypassDocumentValidation": offArg, "let": noArg,
			},
		},
		{
			name: "delete", first: nameArg, run: (*Runner).cmdDelete, inTx: (*Runner).txDelete, explain: explaining(explainDelete), bounded: true,
			args: map[string]argKind{
				"deletes": anyArg, "ordered": boolArg, "let": noArg,
			},
		},
		{
			name: "findAndModify", first: nameArg, run: (*Runner).cmdFindAndModify, inTx: (*Runner).txFindAndModify, explain: explaining(explainModify), bounded: true,
			args: map[string]argKind{
				"query": docArg, "sort": docArg, "update": anyArg, "remove": boolArg, "new": boolArg, "fields": docArg,
				"upsert": boolArg, "arrayFilters": anyArg, "bypassDocumentValidation": offArg, "hint": noArg,
				"collation": noArg, "let": noArg,
			},
		},
		{
			name: "find", first: nameArg, run: (*Runner).cmdFind, inTx: (*Runner).txFind, explain: explaining(explainFind),
			args: map[string]argKind{
				"filter": docArg, "sort": docArg, "projection": docArg, "hint": anyArg, "skip": countArg,
				"limit": countArg, "batchSize": countArg, "singleBatch": boolArg, "noCursorTimeout": boolArg,
				"allowPartialResults": boolArg, "allowDiskUse": boolArg, "oplogReplay": boolArg, "tailable": offArg,
				"awaitData": offArg, "returnKey": offArg, "showRecordId": offArg, "min": noArg, "max": noArg, "let": noArg,
				"collation": noArg,
			},
		},
		{
			name: "count", first: nameArg, run: (*Runner).cmdCount, inTx: (*Runner).txCount, explain: explaining(explainCount),
			args: map[string]argKind{
				"query": docArg, "skip": countArg, "limit": numberArg, "hint": anyArg, "collation": noArg,
				"fields": anyArg,
			},
		},
		{
			name: "distinct", first: nameArg, run: (*Runner).cmdDistinct, explain: explaining(explainDistinct),
			args: map[string]argKind{
				"key": textArg, "query": docArg, "hint": anyArg, "collation": noArg,
			},
		},
		{
			name: "aggregate", first: scopeArg, run: (*Runner).cmdAggregate, inTx: (*Runner).txAggregate, explain: (*Runner).explainAggregate,
			args: map[string]argKind{
				"pipeline": anyArg, "cursor": docArg, "hint": anyArg, "let": docArg, "explain": boolArg,
				"allowDiskUse": boolArg, "bypassDocumentValidation": boolArg, "collation": noArg,
			},
		},
		{
			name: "getMore", first: numberArg, run: (*Runner).cmdGetMore,
			args: map[string]argKind{
				"collection": textArg, "batchSize": countArg,
			},
		},
		{
			name: "killCursors", first: textArg, run: (*Runner).cmdKillCursors,
			args: map[string]argKind{
				"cursors": anyArg,
			},
		},
		{
			name: "explain", first: docArg, run: (*Runner).cmdExplain,
			args: map[string]argKind{
				"verbosity": textArg,
			},
		},
		{
			name: "listCollections", first: anyArg, run: (*Runner).cmdListCollections,
			args: map[string]argKind{
				"filter": docArg, "nameOnly": boolArg, "authorizedCollections": boolArg, "cursor": docArg,
			},
		},
		{
			name: "create", first: nameArg, run: (*Runner).cmdCreate,
			args: map[string]argKind{
				"validator": anyArg, "validationLevel": anyArg, "validationAction": anyArg, "formats": anyArg,
				"rules": anyArg,
			},
		},
		{
			name: "collMod", first: nameArg, run: (*Runner).cmdCollMod, bounded: true,
			args: map[string]argKind{
				"validator": anyArg, "validationLevel": anyArg, "validationAction": anyArg, "formats": anyArg,
				"rules": anyArg, "index": docArg, "migrate": anyArg, "dryRun": anyArg, "force": anyArg, "list": countArg,
			},
		},
		{
			name: "drop", first: nameArg, run: (*Runner).cmdDrop,
		},
		{
			name: "validate", first: nameArg, run: (*Runner).cmdValidate, bounded: true,
			args: map[string]argKind{
				"full": boolArg, "repair": offArg, "metadata": boolArg, "checkBSONConformance": boolArg,
				"background": boolArg, "list": countArg,
			},
		},
		{
			name: "createIndexes", first: nameArg, run: (*Runner).cmdCreateIndexes, bounded: true,
			args: map[string]argKind{
				"indexes": anyArg, "commitQuorum": anyArg, "ignoreUnknownIndexOptions": offArg,
			},
		},
		{
			name: "listIndexes", first: nameArg, run: (*Runner).cmdListIndexes,
			args: map[string]argKind{
				"cursor": docArg,
			},
		},
		{
			name: "dropIndexes", first: nameArg, run: (*Runner).cmdDropIndexes,
			args: map[string]argKind{
				"index": anyArg,
			},
		},
		{
			name: "watch", first: scopeArg, run: (*Runner).cmdWatch,
			args: map[string]argKind{
				"collections": anyArg, "id": anyArg, "operations": anyArg, "filter": docArg, "image": textArg,
				"resumeAfter": textArg,
			},
		},
		{
			name: "live", first: nameArg, run: (*Runner).cmdLive,
			args: map[string]argKind{
				"filter": docArg, "sort": docArg, "projection": docArg, "skip": countArg, "limit": countArg,
			},
		},
		{
			name: "refused", first: scopeArg, run: (*Runner).cmdRefused,
			args: map[string]argKind{
				"collection": textArg, "reasons": anyArg, "log": textArg, "since": anyArg, "until": anyArg,
				"unhandled": boolArg, "newest": boolArg, "skip": countArg, "limit": countArg, "body": boolArg,
			},
		},
		{
			name: "retryRefused", first: textArg, run: (*Runner).cmdRetryRefused,
		},
		{
			name: "handleRefused", first: anyArg, run: (*Runner).cmdHandleRefused,
			args: map[string]argKind{
				"handled": boolArg,
			},
		},
		{
			name: "conflicts", first: scopeArg, run: (*Runner).cmdConflicts,
			args: map[string]argKind{
				"skip": countArg, "limit": countArg,
			},
		},
		{
			name: "commitTransaction", first: anyArg, ends: (*db.Tx).Commit, commits: true,
			args: map[string]argKind{
				"recoveryToken": docArg,
			},
		},
		{
			name: "abortTransaction", first: anyArg, ends: func(*db.Tx) error { return nil },
			args: map[string]argKind{
				"recoveryToken": docArg,
			},
		},
	}
}
