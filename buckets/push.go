package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/weftdb/weft/internal/fault"
)

// pullFolder is the name, in a folder that is pulled to, under which files are
// written before they take their place; it is never pushed or pulled.
const pullFolder = ".weft-pull"

// PushDir pushes a directory of the operating system; see [Bucket.Push]. Nothing
// outside the directory is read, whatever its links say.
func (b *Bucket) PushDir(ctx context.Context, dir string, o PushOptions) (Report, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fmt.Errorf("push: %w", err)
	}
	defer root.Close()
	return b.Push(ctx, root.FS(), o)
}

// Push makes the bucket hold the regular files of a folder, and its empty
// directories. A file whose content the bucket has already is left alone. What
// cannot be pushed (links, devices, unreadable files, names that the path rules
// refuse) is left out and reported. A push that fails or is killed has pushed
// some of the files, each whole; pushing again goes on.
func (b *Bucket) Push(ctx context.Context, fsys fs.FS, o PushOptions) (Report, error) {
	defer b.blobs.Hold()()
	p := &push{b: b, fsys: fsys, o: o, up: newUpload(b), seen: map[string]bool{}}
	if _, err := p.folder(ctx, ".", 0); err != nil {
		return p.report, err
	}
	if _, err := p.up.close(ctx); err != nil {
		return p.report, err
	}
	if o.Remove {
		if err := p.remove(ctx); err != nil {
			return p.report, err
		}
	}
	var err error
	p.report.Root, err = b.Root(ctx)
	return p.report, err
}

type push struct {
	b      *Bucket
	fsys   fs.FS
	o      PushOptions
	up     *upload
	report Report
	done   Progress
	seen   map[string]bool // paths of the folder, kept for Remove only
}

func (p *push) skip(path, reason string) {
	p.report.Skipped = append(p.report.Skipped, Note{Path: path, Reason: reason})
}

func (p *push) see(path string) {
	if p.o.Remove {
		p.seen[path] = true
	}
}

// folder pushes what is below dir and returns how many entries that makes.
func (p *push) folder(ctx context.Context, dir string, depth int) (int, error) {
	list, err := fs.ReadDir(p.fsys, dir)
	if err != nil && len(list) == 0 {
		if depth == 0 {
			return 0, fmt.Errorf("push: %w", err)
		}
		p.skip(dir, "cannot be read: "+err.Error())
		p.see(dir + "/*")
		return 1, nil // not known to be empty
	}
	made := 0
	for _, d := range list {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		n, err := p.one(ctx, path.Join(dir, d.Name()), d, depth)
		if err != nil {
			return made, err
		}
		made += n
	}
	if made == 0 && depth > 0 {
		return 1, p.emptyDir(ctx, dir+"/")
	}
	return made, nil
}

// one pushes one directory entry.
func (p *push) one(ctx context.Context, name string, d fs.DirEntry, depth int) (int, error) {
	if depth == 0 && d.Name() == pullFolder {
		p.skip(name, "is the folder of a pull that did not end")
		return 0, nil
	}
	if err := CheckPath(name); err != nil {
		p.skip(name, err.Error())
		return 0, nil
	}
	switch {
	case d.IsDir():
		return p.folder(ctx, name, depth+1)
	case d.Type()&fs.ModeSymlink != 0:
		p.skip(name, "is a symbolic link")
		return 0, nil
	case !d.Type().IsRegular():
		p.skip(name, "is not a regular file")
		return 0, nil
	}
	p.see(name)
	err := p.file(ctx, name)
	var unreadable *readError
	if errors.As(err, &unreadable) {
		p.skip(name, "cannot be read: "+unreadable.Error())
		return 1, nil
	}
	return 1, err
}

func (p *push) emptyDir(ctx context.Context, name string) error {
	p.see(name)
	_, err := p.b.entries.get(ctx, name)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
		return err
	}
	return p.up.mark(name)
}

// file pushes one regular file.
func (p *push) file(ctx context.Context, name string) error {
	var replaces []string
	old, err := p.b.entries.get(ctx, name)
	switch {
	case err == nil:
		replaces = []string{old.current}
		same, err := p.unchanged(name, old.version())
		if err != nil {
			return err
		}
		if same {
			p.report.Unchanged++
			p.progress(name, old.version().size)
			return nil
		}
	case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed):
		return err
	}
	f, err := p.fsys.Open(name)
	if err != nil {
		return &readError{err}
	}
	defer f.Close()
	v, err := p.up.add(ctx, name, replaces, f)
	if err != nil {
		return err
	}
	if replaces == nil {
		p.report.Added++
	} else {
		p.report.Changed++
	}
	p.report.Bytes += v.size
	p.progress(name, v.size)
	return nil
}

// unchanged reports whether the file's content is the version's.
func (p *push) unchanged(name string, v version) (bool, error) {
	f, err := p.fsys.Open(name)
	if err != nil {
		return false, &readError{err}
	}
	defer f.Close()
	return holds(f, v, p.up.scratch)
}

// holds reports whether an open file has a version's content.
func holds(f fs.File, v version, scratch []byte) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		return false, &readError{err}
	}
	if info.Size() != v.size {
		return false, nil
	}
	c, _, err := contentCID(f, scratch)
	return err == nil && c == v.cid, err
}

func (p *push) progress(name string, size int64) {
	p.done.Path = name
	p.done.Files++
	p.done.Bytes += size
	if p.o.Progress != nil {
		p.o.Progress(p.done)
	}
}

// remove takes out the entries that the folder does not have.
func (p *push) remove(ctx context.Context) error {
	_, err := p.b.entries.scan(ctx, "", "", 0, func(e entry) error {
		if !p.seen[e.path] && !p.unread(e.path) {
			p.up.change(change{path: e.path, replaces: e.order})
		}
		return nil
	})
	if err != nil {
		return err
	}
	total := len(p.up.changes)
	left, err := p.up.commit(ctx)
	if err != nil {
		return err
	}
	p.report.Removed = total - len(left)
	for _, path := range left {
		p.skip(path, "was changed while it was being removed")
	}
	return nil
}

// unread reports whether a path is in a directory that could not be read.
func (p *push) unread(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if p.seen[dir+"/*"] {
			return true
		}
	}
	return false
}

// PutFile stores what r gives, to its end, under a path. A path that ends in "/"
// is not a file's.
func (b *Bucket) PutFile(ctx context.Context, name string, r io.Reader) (Entry, error) {
	if err := CheckPath(name); err != nil {
		return Entry{}, err
	}
	if (entry{path: name}).isDir() {
		return Entry{}, fault.Of(ErrPath, "the path %q ends in /", name)
	}
	defer b.blobs.Hold()()
	var replaces []string
	old, err := b.entries.get(ctx, name)
	if err == nil {
		replaces = []string{old.current}
	} else if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
		return Entry{}, err
	}
	up := newUpload(b)
	v, err := up.add(ctx, name, replaces, r)
	if err != nil {
		return Entry{}, fmt.Errorf("put %s: %w", name, err)
	}
	if _, err := up.close(ctx); err != nil {
		return Entry{}, err
	}
	return Entry{Path: name, CID: v.cid, Size: v.size, Tsize: v.tsize}, nil
}

// Remove removes a path, with every version that the entry has now; a version
// that was written apart survives. It returns ErrNotFound, or ErrConflict if the
// path was changed meanwhile.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	e, err := b.entries.get(ctx, name)
	if err != nil && !errors.Is(err, ErrMalformed) { // what is malformed can be removed
		return err
	}
	left, err := b.entries.apply(ctx, []change{{path: name, replaces: e.order}})
	if err == nil && len(left) > 0 {
		err = fault.Of(ErrConflict, "%s was changed meanwhile", name)
	}
	return err
}

// Resolve drops the versions of a path that are listed as conflicts, keeping the
// one that is read.
func (b *Bucket) Resolve(ctx context.Context, name string) error {
	if err := CheckPath(name); err != nil {
		return err
	}
	e, err := b.entries.get(ctx, name)
	if err != nil {
		return err
	}
	c := change{path: name}
	for _, key := range e.order {
		if key != e.current {
			c.replaces = append(c.replaces, key)
		}
	}
	if len(c.replaces) == 0 {
		return nil
	}
	_, err = b.entries.apply(ctx, []change{c})
	return err
}
