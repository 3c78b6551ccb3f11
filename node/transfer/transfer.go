// Package transfer moves documents between databases and files: exports and
// imports of a collection or of a whole database, and imports of what ThreadDB
// apps have.
//
//	Reader  ── Item ──► Writer      a file's documents into a database
//	Encoder ◄── db.Snapshot         a database's documents into a file
//
// A document that an import has acknowledged is durable, whatever ends the import
// afterwards; running it again with [Skip] completes it. Nothing is left out
// without a word. The formats: docs/design/transfer.md.
package transfer

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

var (
	// ErrFormat reports a file that is not of a form that imports read.
	ErrFormat = fault.New(fault.Malformed, "the file is not in a format that imports read")
	// ErrCut reports a file that ends before its end.
	ErrCut = fault.New(fault.CutShort, "the file is incomplete")
	// ErrInexact reports a document that the text of an export would not give back.
	ErrInexact = fault.New(fault.InvalidArgument, "the text of an export would not give the document back")
	// ErrDefined reports a collection that is defined otherwise in the database.
	ErrDefined = fault.New(fault.AlreadyExists, "the collection already exists with another definition")
)

// MaxLine bounds the text of one document, in bytes: a document has at most
// 1 MiB, its text can be longer.
const MaxLine = 16 << 20

// An Item is one thing that a file holds: a definition, a document, or a line that is
// neither. Its bytes are its own and may be kept.
type Item struct {
	Line       uint64   // where it begins in the file, from 1
	Collection string   // "" in a file of one collection
	Definition bson.Raw // of the collection, before its documents; nil if it is a document
	Document   bson.Raw
	Err        error // why the line could not be read; those after it can
}

// Duplicates says what becomes of a document whose _id another has already.
type Duplicates string

// The ways.
const (
	Fail    Duplicates = "fail"    // it is a failure
	Skip    Duplicates = "skip"    // the one that is there stays
	Replace Duplicates = "replace" // it takes the other's place
)

// ParseDuplicates reads a way; "" means Fail.
func ParseDuplicates(s string) (Duplicates, error) {
	switch d := Duplicates(s); d {
	case "":
		return Fail, nil
	case Fail, Skip, Replace:
		return d, nil
	}
	return "", fault.Errorf(fault.InvalidArgument, "invalid way to treat duplicates %.40q: want fail, skip or replace", s)
}
