// Package rescue writes what can be read of damaged databases to files, before a repair that
// may leave less of them: the documents of a database can be whole whose records are not.
//
//	Write    one file for each database, as weft export writes it
//	Keep     those of databases that the repair did not bring back as a whole
//	Report   where they are, and how they are put back
package rescue

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/transfer"
)

// A File has the documents of one database.
type File struct {
	Database  string   `json:"database"`
	Path      string   `json:"path"`
	Documents int64    `json:"documents"`
	Unread    []string `json:"unread,omitempty"` // what of it could not be read
}

// Files are those that were written.
type Files []File

// Write writes a file into dir for each database that n serves; of others nothing can be read.
// An error is one of writing.
func Write(ctx context.Context, n *node.Node, databases []string, dir string) (all Files, err error) {
	for i, name := range databases {
		f := File{Database: name, Path: filepath.Join(dir, fmt.Sprintf("%d.jsonl.gz", i+1))}
		served := false
		if err = os.MkdirAll(dir, 0o700); err == nil {
			served, err = f.write(ctx, n)
		}
		if err == nil && !served {
			continue
		}
		if err != nil {
			return all, errors.Join(fmt.Errorf("rescue what can be read of %s: %w", name, err), os.RemoveAll(dir))
		}
		all = append(all, f)
	}
	_ = os.Remove(dir) // if it is empty
	return all, nil
}

// write writes all collections as they were at one moment, if the database is served.
func (f *File) write(ctx context.Context, n *node.Node) (served bool, err error) {
	d, err := n.Database(ctx, f.Database)
	if err != nil {
		return false, nil //nolint:nilerr // the repair says what is wrong with it
	}
	snap, err := d.Snapshot()
	if err != nil {
		return false, nil //nolint:nilerr // as above
	}
	defer snap.Close()
	file, err := os.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	zip := gzip.NewWriter(file)
	out, err := transfer.NewDatabaseEncoder(zip, f.Database)
	if err != nil {
		return false, err
	}
	names, err := snap.Collections(ctx)
	f.lacks("the list of collections", err)
	for _, name := range names {
		definition, err := snap.Definition(name)
		if err != nil && !fault.Is(err, fault.NotFound) {
			f.lacks("the definition of "+name, err)
		}
		if err := out.Use(name, definition); err != nil {
			return false, err
		}
		for doc, err := range snap.Documents(ctx, name) {
			if err != nil {
				f.lacks("collection "+name, err)
				break
			}
			if err := out.Write(doc); err != nil {
				return false, err
			}
			f.Documents++
		}
	}
	return true, errors.Join(out.Close(), zip.Close(), file.Sync(), ctx.Err())
}

// lacks notes what could not be read.
func (f *File) lacks(what string, err error) {
	if err != nil {
		f.Unread = append(f.Unread, fmt.Sprintf("%s: %v", what, err))
	}
}

// Keep removes the files of databases that are whole again.
func (all *Files) Keep(r node.Repair) (err error) {
	*all = slices.DeleteFunc(*all, func(f File) bool {
		i := slices.IndexFunc(r.Databases, func(d node.RebuiltDatabase) bool { return d.Name == f.Database })
		if i >= 0 && !r.Databases[i].Whole() {
			return false
		}
		err = errors.Join(err, os.Remove(f.Path))
		_ = os.Remove(filepath.Dir(f.Path)) // once it is empty
		return true
	})
	return err
}

// Report says where the files are.
func (all Files) Report(w io.Writer) {
	for _, f := range all {
		fmt.Fprintf(w, "%s: the %s that could be read before the repair are in %s: weft import %s %s --on-duplicate skip puts back those that are gone\n",
			f.Database, words.Count(f.Documents, "document"), f.Path, f.Database, f.Path)
		for _, what := range f.Unread {
			fmt.Fprintf(w, "%s: could not be read: %s\n", f.Database, what)
		}
	}
}
