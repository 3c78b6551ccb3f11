package buckets

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/weftdb/weft/internal/fault"
)

const (
	pullPage   = 512
	pullOldAge = time.Hour
)

// PullDir writes the bucket's files into a directory, which it makes if it is
// not there. A file that has its content already is left alone. Each file is
// checked, written aside, synced and then put in its place at once, so that a
// pull that is killed leaves whole files, and pulling again goes on. Nothing is
// written outside the directory and no link in it is followed; other files in it
// stay. What cannot be written is left out and reported.
func (b *Bucket) PullDir(ctx context.Context, dir string, o PullOptions) (Report, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Report{}, fmt.Errorf("pull: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fmt.Errorf("pull: %w", err)
	}
	defer root.Close()
	defer b.blobs.Hold()()
	view, hidden, err := b.derive(ctx)
	if err != nil {
		return Report{}, err
	}
	p := &pull{b: b, root: root, o: o, hidden: hidden, dirs: map[string]string{}, scratch: make([]byte, ChunkSize)}
	p.report.Root = view.Root
	if err := p.open(); err != nil {
		return p.report, err
	}
	if err := p.entries(ctx); err != nil {
		return p.report, errors.Join(err, p.close())
	}
	return p.report, p.close()
}

type pull struct {
	b       *Bucket
	root    *os.Root
	o       PullOptions
	hidden  map[string]bool
	dirs    map[string]string // directories looked at, with why one cannot be used
	changed map[string]bool   // directories to sync
	scratch []byte
	report  Report
	done    Progress
}

// open makes the folder for unfinished files and clears what killed pulls left.
func (p *pull) open() error {
	p.changed = map[string]bool{}
	if err := p.root.Mkdir(pullFolder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("pull: %w", err)
	}
	info, err := p.root.Lstat(pullFolder)
	if err != nil || !info.IsDir() {
		return fault.Errorf(fault.AlreadyExists, "%s is in the way: move it elsewhere", pullFolder)
	}
	old, err := fs.ReadDir(p.root.FS(), pullFolder)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	now := time.Now
	if p.o.Now != nil {
		now = p.o.Now
	}
	for _, d := range old {
		if info, err := d.Info(); err == nil && now().Sub(info.ModTime()) > pullOldAge {
			if err := p.root.Remove(path.Join(pullFolder, d.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("pull: %w", err)
			}
		}
	}
	return nil
}

// close removes the folder for unfinished files, unless another pull uses it,
// and makes new names durable.
func (p *pull) close() error {
	_ = p.root.Remove(pullFolder) // not empty: another pull is at work
	var first error
	for dir := range p.changed {
		if err := p.syncDir(dir); err != nil && first == nil {
			first = fmt.Errorf("pull: sync %s: %w", dir, err)
		}
	}
	return first
}

func (p *pull) syncDir(dir string) error {
	d, err := p.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// entries pulls page by page, so that no view of the database is held meanwhile.
func (p *pull) entries(ctx context.Context) error {
	for after := ""; ; {
		page := make([]entry, 0, pullPage)
		done, err := p.b.entries.scan(ctx, "", after, pullPage, func(e entry) error { page = append(page, e); return nil })
		if err != nil {
			return err
		}
		p.report.Skipped = append(p.report.Skipped, done.bad...)
		for _, e := range page {
			if err := p.one(ctx, e); err != nil {
				return fmt.Errorf("%s: %w", e.path, err)
			}
		}
		if done.read < pullPage || done.after <= after {
			return nil
		}
		after = done.after
	}
}

func (p *pull) skip(path, reason string) {
	p.report.Skipped = append(p.report.Skipped, Note{Path: path, Reason: reason})
}

// one brings one entry into the directory.
func (p *pull) one(ctx context.Context, e entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.path == pullFolder || strings.HasPrefix(e.path, pullFolder+"/") {
		p.skip(e.path, "has the name of the folder for unfinished files")
		return nil
	}
	if p.hidden[e.path] {
		p.skip(e.path, "is hidden by a directory of the same path")
		return nil
	}
	if e.isDir() {
		if reason := p.mkdir(strings.TrimSuffix(e.path, "/")); reason != "" {
			p.skip(e.path, reason)
		}
		return nil
	}
	if reason := p.mkdir(path.Dir(e.path)); reason != "" {
		p.skip(e.path, reason)
		return nil
	}
	return p.file(ctx, e)
}

// mkdir makes a directory and those above it, and returns why it cannot be used.
func (p *pull) mkdir(dir string) string {
	if dir == "." {
		return ""
	}
	if reason, ok := p.dirs[dir]; ok {
		return reason
	}
	reason := p.mkdir(path.Dir(dir))
	if reason == "" {
		reason = p.mkdirOne(dir)
	}
	p.dirs[dir] = reason
	return reason
}

func (p *pull) mkdirOne(dir string) string {
	err := p.root.Mkdir(dir, 0o755)
	if err == nil {
		p.changed[path.Dir(dir)] = true
		return ""
	}
	info, lerr := p.root.Lstat(dir)
	switch {
	case lerr != nil:
		return "cannot make the directory: " + err.Error()
	case info.Mode()&fs.ModeSymlink != 0:
		return dir + " is a symbolic link, which is not followed"
	case !info.IsDir():
		return dir + " is in the way: it is not a directory"
	}
	return ""
}

// file writes one file unless it is there already.
func (p *pull) file(ctx context.Context, e entry) error {
	v := e.version()
	there, reason, err := p.look(e.path, v)
	if err != nil {
		return err
	}
	switch {
	case reason != "":
		p.skip(e.path, reason)
		return nil
	case there == sameContent:
		p.report.Unchanged++
	default:
		if err := p.write(ctx, e.path, v); err != nil {
			return err
		}
		if there == otherContent {
			p.report.Changed++
		} else {
			p.report.Added++
		}
		p.report.Bytes += v.size
	}
	p.done.Path = e.path
	p.done.Files++
	p.done.Bytes += v.size
	if p.o.Progress != nil {
		p.o.Progress(p.done)
	}
	return nil
}

type presence int

const (
	absent presence = iota
	sameContent
	otherContent
)

// look says what is at a path, or why a file cannot be put there.
func (p *pull) look(name string, v version) (presence, string, error) {
	info, err := p.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return absent, "", nil
	}
	if err != nil {
		return absent, "cannot be looked at: " + err.Error(), nil
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return absent, "a symbolic link is in the way", nil
	}
	if !info.Mode().IsRegular() {
		return absent, "something that is not a regular file is in the way", nil
	}
	if info.Size() != v.size {
		return otherContent, "", nil
	}
	f, err := p.root.Open(name)
	if err != nil {
		return otherContent, "", nil // unreadable: it is replaced
	}
	defer f.Close()
	same, err := holds(f, v, p.scratch)
	var unreadable *readError
	if err != nil && !errors.As(err, &unreadable) {
		return absent, "", err
	}
	if same {
		return sameContent, "", nil
	}
	return otherContent, "", nil
}

// write puts a file in its place, whole, synced and checked.
func (p *pull) write(ctx context.Context, name string, v version) (err error) {
	aside := path.Join(pullFolder, ulid.Make().String())
	f, err := p.root.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	defer func() {
		if err != nil {
			_ = p.root.Remove(aside) // the next pull clears it otherwise
		}
	}()
	w := bufio.NewWriterSize(f, 64<<10)
	err = p.b.copyRange(ctx, v, w, Whole)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := p.root.Rename(aside, name); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	p.changed[path.Dir(name)] = true
	return nil
}
