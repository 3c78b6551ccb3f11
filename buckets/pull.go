package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
)

const (
	// pullFolder is the name, in a folder that is pulled to, under which files are
	// written before they take their place; it is never pushed or pulled.
	pullFolder = ".weft-pull"
	pullPage   = 512
	pullOldAge = time.Hour
)

// A Source is what a pull reads: a Bucket, or one that another process holds.
type Source interface {
	// Entries calls page with the entries in byte order of paths, a bounded number
	// at a time, and with what is to be left out and why.
	Entries(ctx context.Context, page func([]Entry, []Note) error) error
	// Read calls take for each of these paths that is still there, in any order,
	// with the entry as it is now and what writes its bytes, checked.
	Read(ctx context.Context, paths []string, take func(Entry, func(io.Writer) error) error) error
}

// PullDir writes the bucket's files into a directory; see [Pull].
func (b *Bucket) PullDir(ctx context.Context, dir string, o PullOptions) (Report, error) {
	root, err := b.Root(ctx)
	if err != nil {
		return Report{}, err
	}
	r, err := Pull(ctx, b, dir, o)
	r.Root = root
	return r, err
}

// Pull writes the files of a bucket into a directory, which it makes if it is
// not there. A file that has its content already is left alone. Each file is
// checked, written aside, synced and then put in its place at once, so that a
// pull that is killed leaves whole files, and pulling again goes on. Nothing is
// written outside the directory and no link in it is followed; other files in it
// stay. What cannot be written is left out and reported. A file that no pull wrote, or
// that was changed since, is not replaced: it is kept beside as NAME.kept, and reported.
func Pull(ctx context.Context, from Source, dir string, o PullOptions) (Report, error) {
	if err := noFile(dir); err != nil {
		return Report{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Report{}, fmt.Errorf("pull: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Report{}, fmt.Errorf("pull: %w", err)
	}
	defer root.Close()
	p := &pull{from: from, root: root, o: o, dirs: map[string]string{}, changed: map[string]bool{}, scratch: make([]byte, ChunkSize)}
	if err := p.open(); err != nil {
		return p.report, err
	}
	err = from.Entries(ctx, func(page []Entry, left []Note) error { return p.page(ctx, page, left) })
	return p.report, errors.Join(err, p.close())
}

type pull struct {
	from    Source
	root    *os.Root
	o       PullOptions
	dirs    map[string]string // directories looked at, with why one cannot be used
	changed map[string]bool   // directories to sync
	scratch []byte
	report  Report
	done    Progress
	aside   batch
}

// open makes the folder for unfinished files and clears what killed pulls left.
func (p *pull) open() error {
	if err := p.root.Mkdir(pullFolder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		if failed, ok := errors.AsType[*fs.PathError](err); ok {
			failed.Path = p.root.Name() // the folder that people know
		}
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
	for _, d := range old {
		if info, err := d.Info(); err == nil && p.now().Sub(info.ModTime()) > pullOldAge {
			if err := p.root.Remove(path.Join(pullFolder, d.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("pull: %w", err)
			}
		}
	}
	return nil
}

func (p *pull) now() time.Time {
	if p.o.Now != nil {
		return p.o.Now()
	}
	return time.Now()
}

// close removes the folder for unfinished files, unless another pull uses it,
// and makes new names durable.
func (p *pull) close() error {
	_ = p.root.Remove(pullFolder) // not empty: another pull is at work
	dirs := slices.Collect(maps.Keys(p.changed))
	if err := durable.Sync(len(dirs), func(i int) (*os.File, error) { return p.root.Open(dirs[i]) }); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return nil
}

// page brings a page of entries into the directory.
func (p *pull) page(ctx context.Context, page []Entry, left []Note) error {
	p.report.Skipped = append(p.report.Skipped, left...)
	want := map[string]presence{}
	var paths []string
	for _, e := range page {
		if err := ctx.Err(); err != nil {
			return err
		}
		there, err := p.one(e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, err)
		}
		if there == absent || there == otherContent || there == localContent {
			want[e.Path] = there
			paths = append(paths, e.Path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	err := p.from.Read(ctx, paths, func(e Entry, body func(io.Writer) error) error {
		there, wanted := want[e.Path]
		if !wanted {
			return fault.Of(ErrMalformed, "a file %q that was not asked for", e.Path)
		}
		delete(want, e.Path)
		return p.write(e, there, body)
	})
	// What was read whole takes its place also if the page ended early. A file
	// that could not be written is named once.
	if settled := p.settle(); err == nil {
		err = settled
	}
	if err != nil {
		return err
	}
	for path := range want {
		p.skip(path, "was removed while it was being pulled")
	}
	return nil
}

func (p *pull) skip(path, reason string) {
	p.report.Skipped = append(p.report.Skipped, Note{Path: path, Reason: reason})
}

// one makes room for an entry, and says whether its file is to be read.
func (p *pull) one(e Entry) (presence, error) {
	if e.Path == pullFolder || strings.HasPrefix(e.Path, pullFolder+"/") {
		p.skip(e.Path, "has the name of the folder for unfinished files")
		return unusable, nil
	}
	if dir, ok := strings.CutSuffix(e.Path, "/"); ok {
		if reason := p.mkdir(dir); reason != "" {
			p.skip(e.Path, reason)
		}
		return unusable, nil
	}
	if reason := p.mkdir(path.Dir(e.Path)); reason != "" {
		p.skip(e.Path, reason)
		return unusable, nil
	}
	there, reason, err := p.look(e)
	switch {
	case err != nil:
		return unusable, err
	case reason != "":
		p.skip(e.Path, reason)
		return unusable, nil
	case there == sameContent:
		p.report.Unchanged++
		p.progress(e.Path, e.Size)
	}
	return there, nil
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

func (p *pull) progress(name string, size int64) {
	p.done.Path = name
	p.done.Files++
	p.done.Bytes += size
	if p.o.Progress != nil {
		p.o.Progress(p.done)
	}
}

type presence int

const (
	absent presence = iota
	sameContent
	otherContent // of an earlier pull
	localContent // of anybody else
	unusable     // nothing is to be read for it
)

// look says what is at a path, or why a file cannot be put there.
func (p *pull) look(e Entry) (presence, string, error) {
	info, err := p.root.Lstat(e.Path)
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
	if info.Size() != e.Size && !marked(info) {
		return localContent, "", nil
	}
	f, err := p.root.Open(e.Path)
	if err != nil {
		return localContent, "", nil // unreadable
	}
	defer f.Close()
	c, _, err := contentCID(f, p.scratch)
	if _, unreadable := errors.AsType[*readError](err); err != nil && !unreadable {
		return absent, "", err
	}
	switch {
	case err == nil && c == e.CID:
		return sameContent, "", nil
	case err == nil && info.ModTime().Nanosecond() == mark(c):
		return otherContent, "", nil
	}
	return localContent, "", nil
}
