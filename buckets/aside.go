package buckets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sync"

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
	return errors.Join(err, f.Close())
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
