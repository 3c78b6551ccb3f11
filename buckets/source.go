package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Entries calls page with the bucket's entries, some hundreds at a time, so that
// no view of the database is held meanwhile. Files that a directory of the same
// path hides, and entries that are not well formed, are to be left out.
func (b *Bucket) Entries(ctx context.Context, page func([]Entry, []Note) error) error {
	_, hidden, err := b.derive(ctx)
	if err != nil {
		return err
	}
	for after := ""; ; {
		list, left := make([]Entry, 0, pullPage), []Note(nil)
		done, err := b.entries.scan(ctx, "", after, pullPage, func(e entry) error {
			if hidden[e.path] {
				left = append(left, Note{Path: e.path, Reason: "is hidden by a directory of the same path"})
			} else {
				list = append(list, e.public())
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := page(list, append(left, done.bad...)); err != nil {
			return err
		}
		if done.read < pullPage || done.after <= after {
			return nil
		}
		after = done.after
	}
}

// Read calls take with the files at these paths, as they are now, and what
// writes the bytes of each, checked, during that call.
func (b *Bucket) Read(ctx context.Context, paths []string, take func(Entry, func(io.Writer) error) error) error {
	defer b.blobs.Hold()()
	for _, path := range paths {
		if err := CheckPath(path); err != nil {
			return err
		}
		e, err := b.entries.get(ctx, path)
		if errors.Is(err, ErrNotFound) || err == nil && e.isDir() {
			continue
		}
		if err != nil {
			return err
		}
		err = take(e.public(), func(w io.Writer) error { return b.copyRange(ctx, e.version(), w, Whole) })
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
