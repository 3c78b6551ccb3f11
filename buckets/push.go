package buckets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/weftdb/weft/internal/fault"
)

// PushDir pushes a directory of the operating system; see [Bucket.Push]. Nothing
// outside the directory is read, whatever its links say.
func (b *Bucket) PushDir(ctx context.Context, dir string, o PushOptions) (Report, error) {
	root, err := OpenDir(dir)
	if err != nil {
		return Report{}, fmt.Errorf("push: %w", err)
	}
	defer root.Close()
	return b.Push(ctx, root.FS(), o)
}

// OpenDir opens a directory of the operating system that is to be pushed.
func OpenDir(dir string) (*os.Root, error) {
	if err := noFile(dir); err != nil { // os.OpenRoot's error has no kind
		return nil, err
	}
	return os.OpenRoot(dir)
}

// noFile refuses a path where a file is and not a folder.
func noFile(dir string) error {
	if i, err := os.Stat(dir); err == nil && !i.IsDir() {
		return fault.Errorf(fault.InvalidPath, "%s is a file, not a folder", dir)
	}
	return nil
}

// Push makes the bucket hold the regular files of a folder, and its empty
// directories. A file whose content the bucket has already is left alone, unless blocks
// are lacking, which may be its own: then all are stored. What
// cannot be pushed (links, devices, unreadable files, names that the path rules
// refuse, a file where the bucket has a directory or the other way round, unless Remove
// takes that away) is left out and reported. A push that fails or is killed has pushed
// some of the files, each whole; pushing again goes on.
func (b *Bucket) Push(ctx context.Context, fsys fs.FS, o PushOptions) (Report, error) {
	p := b.Pusher(o)
	if err := Walk(ctx, fsys, func(f File) error { return p.Take(ctx, f) }); err != nil {
		return p.report, cmp.Or(err, p.Abort())
	}
	return p.Close(ctx)
}

// A Pusher is a push whose files are brought one by one, as [Walk] gives them.
// It belongs to one goroutine; whoever has one owes Close or Abort.
type Pusher struct {
	b       *Bucket
	o       PushOptions
	up      *upload
	report  Report
	done    Progress
	seen    map[string]bool // paths of the folder, kept for Remove only
	clear   string          // a directory that is no file of the bucket, nor what it is in
	release func()          // lets go of the blobs
}

// Pusher begins a push.
func (b *Bucket) Pusher(o PushOptions) *Pusher {
	return &Pusher{b: b, o: o, up: newUpload(b), seen: map[string]bool{}, release: b.blobs.Hold()}
}

// Take pushes one file, empty directory, or note of what is left out.
func (p *Pusher) Take(ctx context.Context, f File) error {
	dir, isDir := strings.CutSuffix(f.Path, "/")
	switch {
	case f.Reason != "" && isDir:
		p.see(dir + "/*")
		p.skip(dir, f.Reason)
		return nil
	case f.Reason != "":
		p.skip(f.Path, f.Reason)
		p.see(f.Path)
		return nil
	}
	if err := CheckPath(f.Path); err != nil {
		p.skip(f.Path, err.Error())
		return nil
	}
	p.see(f.Path)
	if isDir {
		return p.emptyDir(ctx, f.Path)
	}
	err := p.file(ctx, f)
	if unreadable, ok := errors.AsType[*readError](err); ok {
		p.skip(f.Path, "cannot be read: "+cause(unreadable))
		return nil
	}
	return err
}

// Close ends the push: what was brought is durable, and with Remove what was not
// brought is gone.
func (p *Pusher) Close(ctx context.Context) (Report, error) {
	defer p.release()
	if _, err := p.up.close(ctx); err != nil {
		return p.report, err
	}
	if p.o.Remove {
		if err := p.remove(ctx); err != nil {
			return p.report, err
		}
	}
	var err error
	p.report.Root, err = p.b.Root(ctx)
	return p.report, err
}

// Abort ends the push where it is.
func (p *Pusher) Abort() error {
	defer p.release()
	return p.up.abort()
}

func (p *Pusher) skip(path, reason string) {
	p.report.Skipped = append(p.report.Skipped, Note{Path: path, Reason: reason})
}

func (p *Pusher) see(path string) {
	if p.o.Remove {
		p.seen[path] = true
	}
}

func (p *Pusher) emptyDir(ctx context.Context, name string) error {
	_, err := p.b.entries.get(ctx, name)
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
		return err
	}
	if clash, err := p.clash(ctx, name); clash || err != nil {
		return err
	}
	return p.up.mark(name)
}

// errFound ends a scan.
var errFound = errors.New("found")

// clash reports whether a path that the bucket lacks is that of a directory there, or in what is
// a file there, and notes it. A bucket could hold both, and no folder could.
func (p *Pusher) clash(ctx context.Context, name string) (bool, error) {
	if p.o.Remove {
		return false, nil // what is there is not in the folder
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) { // of "x/" this is x
		if dir == p.clear || strings.HasPrefix(p.clear, dir+"/") {
			break
		}
		_, err := p.b.entries.get(ctx, dir)
		if err == nil {
			p.skip(name, "the bucket has a file "+dir)
			return true, nil
		}
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
			return false, err
		}
	}
	p.clear = path.Dir(name)
	if strings.HasSuffix(name, "/") {
		return false, nil
	}
	_, err := p.b.entries.scan(ctx, name+"/", "", 0, func(entry) error { return errFound })
	if errors.Is(err, errFound) {
		p.skip(name, "the bucket has a folder of this name")
		return true, nil
	}
	return false, err
}

// file pushes one regular file.
func (p *Pusher) file(ctx context.Context, f File) error {
	old, err := p.b.entries.get(ctx, f.Path)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
		return err
	}
	there := err == nil
	if there {
		same, err := p.unchanged(f, old.version())
		if err != nil {
			return err
		}
		if same {
			p.report.Unchanged++
			p.progress(f.Path, f.Size)
			return nil
		}
	} else if clash, err := p.clash(ctx, f.Path); clash || err != nil {
		return err
	}
	v, err := p.up.add(ctx, f.Path, old.current, f.Body)
	if err != nil {
		return err
	}
	switch {
	case !there:
		p.report.Added++
	case v.cid.String() == old.current:
		p.report.Unchanged++
	default:
		p.report.Changed++
	}
	if v.cid.String() != old.current {
		p.report.Bytes += v.size
	}
	p.progress(f.Path, v.size)
	return nil
}

// unchanged reports whether the file's content is the version's, if it can be
// read twice, and its blocks need not be stored.
func (p *Pusher) unchanged(f File, v version) (bool, error) {
	s, ok := f.Body.(io.Seeker)
	if !ok || f.Size != v.size || p.up.all {
		return false, nil
	}
	c, size, err := contentCID(f.Body, p.up.scratch)
	if err != nil || c == v.cid && size == v.size {
		return err == nil, err
	}
	if _, err := s.Seek(0, io.SeekStart); err != nil {
		return false, &readError{err}
	}
	return false, nil
}

func (p *Pusher) progress(name string, size int64) {
	p.done.Path = name
	p.done.Files++
	p.done.Bytes += size
	if p.o.Progress != nil {
		p.o.Progress(p.done)
	}
}

// remove takes out the entries that the folder does not have.
func (p *Pusher) remove(ctx context.Context) error {
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
	left, err := p.up.close(ctx)
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
func (p *Pusher) unread(name string) bool {
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
	old, err := b.entries.get(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrMalformed) {
		return Entry{}, err
	}
	up := newUpload(b)
	v, err := up.add(ctx, name, old.current, r)
	if err != nil {
		return Entry{}, cmp.Or(fmt.Errorf("put %s: %w", name, err), up.abort())
	}
	if _, err := up.close(ctx); err != nil {
		return Entry{}, err
	}
	return Entry{Path: name, CID: v.cid, Size: v.size, Tsize: v.tsize}, nil
}

// Remove removes a path, with every version that the entry has now; a version
// that was written apart survives. It returns ErrNotFound, ErrPath if the path is a
// directory because files are in it, or ErrConflict if it was changed meanwhile.
func (b *Bucket) Remove(ctx context.Context, name string) error {
	e, err := b.get(ctx, name)
	if errors.Is(err, ErrPath) && CheckPath(name) == nil {
		return fault.Of(ErrPath, "%w: %s/ names all that is in it", err, name)
	}
	if err != nil && !errors.Is(err, ErrMalformed) { // what is malformed can be removed
		return err
	}
	left, err := b.entries.apply(ctx, []change{{path: name, replaces: e.order}})
	if err == nil && len(left) > 0 {
		err = fault.Of(ErrConflict, "%s was changed meanwhile", name)
	}
	return err
}

// RemoveAll removes a directory with all that is in it, each path as Remove does, and returns
// how many were removed. It returns ErrNotFound if there are none.
func (b *Bucket) RemoveAll(ctx context.Context, dir string) (removed int, err error) {
	dir = strings.TrimSuffix(dir, "/") + "/"
	if err := CheckPath(dir); err != nil {
		return 0, err
	}
	var some []change
	flush := func() error {
		left, err := b.entries.apply(ctx, some)
		if err != nil {
			return err
		}
		removed, some = removed+len(some)-len(left), some[:0]
		if len(left) > 0 {
			return fault.Of(ErrConflict, "%s was changed meanwhile", left[0])
		}
		return nil
	}
	_, err = b.entries.scan(ctx, dir, "", 0, func(e entry) error {
		if some = append(some, change{path: e.path, replaces: e.order}); len(some) == batchChanges {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil && removed == 0 {
		err = fault.Of(ErrNotFound, "bucket %s has no file %s", b.name, dir)
	}
	return removed, err
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
