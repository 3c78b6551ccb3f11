package buckets

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/oklog/ulid/v2"

	"github.com/weftdb/weft/internal/durable"
	"github.com/weftdb/weft/internal/fault"
)

// Bounds of the files that wait for one sync.
const (
	asideFiles = 512
	asideBytes = 64 << 20
	writers    = 4 // small files that are written at once
)

// A batch is files that lie aside, written and not synced. They are synced
// together, and only then get their names.
type batch struct {
	files []*asideFile
	bytes int64
	wg    sync.WaitGroup
	turn  chan struct{}
}

// An asideFile is a file that lies aside.
type asideFile struct {
	Entry
	aside string
	there presence // what has its name
	err   error    // why it is not whole, once wg has ended
}

// write puts a file aside, checked; settle gives it its name. A small one is
// written beside the reading of what comes after it.
func (p *pull) write(e Entry, there presence, body func(io.Writer) error) error {
	b := &p.aside
	if len(b.files) >= asideFiles || b.bytes >= asideBytes {
		if err := p.settle(); err != nil {
			return err
		}
	}
	x := &asideFile{Entry: e, aside: path.Join(pullFolder, ulid.Make().String()), there: there}
	if e.Size > ChunkSize {
		b.add(x)
		x.err = p.create(x, body)
		return x.err
	}
	var held bytes.Buffer
	held.Grow(int(e.Size) + bytes.MinRead)
	if err := body(&held); err != nil {
		return err
	}
	b.add(x)
	if b.turn == nil {
		b.turn = make(chan struct{}, writers)
	}
	b.turn <- struct{}{}
	b.wg.Go(func() {
		defer func() { <-b.turn }()
		x.err = p.create(x, func(w io.Writer) error { _, err := w.Write(held.Bytes()); return err })
	})
	return nil
}

func (b *batch) add(x *asideFile) {
	b.files = append(b.files, x)
	b.bytes += x.Size
}

// create writes a file aside, whole.
func (p *pull) create(x *asideFile, body func(io.Writer) error) error {
	f, err := p.root.OpenFile(x.aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	size := int64(0)
	err = body(sizeWriter{f, &size})
	if err == nil && size != x.Size {
		err = fault.Of(ErrCorrupt, "%s has %d bytes, not %d", x.Path, size, x.Size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := p.root.Chtimes(x.aside, time.Time{}, markedTime(p.now(), x.CID)); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return nil
}

// A sizeWriter counts what is written.
type sizeWriter struct {
	io.Writer
	n *int64
}

func (w sizeWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	*w.n += int64(n)
	return n, err
}

// settle makes the files that lie aside durable and gives those that are whole
// their names.
func (p *pull) settle() error {
	b := &p.aside
	b.wg.Wait()
	whole, errs := make([]*asideFile, 0, len(b.files)), []error(nil)
	for _, x := range b.files {
		if x.err == nil {
			whole = append(whole, x)
			continue
		}
		errs = append(errs, x.err)
		_ = p.root.Remove(x.aside) // the next pull clears it otherwise
	}
	b.files, b.bytes = nil, 0
	err := durable.Sync(len(whole), func(i int) (*os.File, error) { return p.root.Open(whole[i].aside) })
	for _, x := range whole {
		if err == nil {
			err = p.settleOne(x)
		}
		if err != nil {
			_ = p.root.Remove(x.aside)
		}
	}
	return errors.Join(append(errs, err)...)
}

// settleOne gives a file its name and counts it.
func (p *pull) settleOne(x *asideFile) error {
	if info, err := p.root.Lstat(x.Path); err == nil && (x.there == localContent || !marked(info)) { // maybe changed since it was looked at
		kept, err := p.keep(x.Path)
		if err != nil {
			p.skip(x.Path, "was changed here, and cannot be kept beside: "+err.Error())
			return p.root.Remove(x.aside)
		}
		p.report.Kept = append(p.report.Kept, Note{Path: x.Path, Reason: "no pull wrote what was there: it is " + kept + " now"})
		x.there = otherContent
	}
	if err := p.root.Rename(x.aside, x.Path); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	p.changed[path.Dir(x.Path)] = true
	if x.there == otherContent {
		p.report.Changed++
	} else {
		p.report.Added++
	}
	p.report.Bytes += x.Size
	p.progress(x.Path, x.Size)
	return nil
}

// keep gives a file that no pull wrote a free name beside its own, and returns that.
func (p *pull) keep(name string) (string, error) {
	for n := 1; n <= keptFiles; n++ {
		kept := name + ".kept"
		if n > 1 {
			kept = fmt.Sprintf("%s.kept-%d", name, n)
		}
		if _, err := p.root.Lstat(kept); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		return kept, p.root.Rename(name, kept)
	}
	return "", fault.Errorf(fault.AlreadyExists, "%d kept files of that name are there already", keptFiles)
}

// keptFiles bounds how many files of one name lie kept beside it.
const keptFiles = 1000

// A pull knows what it wrote by the time of change: the part of it below a second follows from
// the content. Whoever changes the file changes its time, or its content. Where times are
// coarse, no file is known, and each that is replaced is kept.
const markUnit = 100 // ns, the step of times on Windows

// mark returns the nanoseconds of the time of change of a file with this content: never 0.
func mark(c cid.Cid) int {
	sum := c.Hash()
	return int(binary.BigEndian.Uint32(sum[len(sum)-4:])%(1e9/markUnit-1)+1) * markUnit
}

// markedTime returns a time of change for a file with this content: now, or up to a second before.
func markedTime(now time.Time, c cid.Cid) time.Time {
	t := now.Truncate(time.Second).Add(time.Duration(mark(c)))
	if t.After(now) {
		t = t.Add(-time.Second)
	}
	return t
}

// marked tells whether a pull may have written the file; its content decides.
func marked(info fs.FileInfo) bool {
	ns := info.ModTime().Nanosecond()
	return ns != 0 && ns%markUnit == 0
}
