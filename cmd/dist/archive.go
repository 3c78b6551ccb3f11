package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// A content is one file that is packed.
type content struct {
	path string // in the archive, with slashes
	from string
	mode os.FileMode
}

// contents returns what an archive has: the program, its man pages and completions, texts.
func (r *release) contents(p platform) ([]content, error) {
	out := []content{
		{p.binary(), r.built(p), 0o755},
		{"LICENSE", filepath.Join(r.source, "LICENSE"), 0o644},
		{"README.md", filepath.Join(r.source, "README.md"), 0o644},
		{"CHANGELOG.md", filepath.Join(r.source, "CHANGELOG.md"), 0o644},
	}
	for _, d := range []string{dirMan, dirCompletions} {
		files, err := os.ReadDir(filepath.Join(r.work, d))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			out = append(out, content{d + "/" + f.Name(), filepath.Join(r.work, d, f.Name()), 0o644})
		}
	}
	return out, nil
}

// archive writes what people unpack.
func (r *release) archive(p platform) error {
	all, err := r.contents(p)
	if err != nil {
		return err
	}
	dir := fmt.Sprintf("weft-%s-%s-%s", r.version, p.os, p.arch)
	for i := range all {
		all[i].path = dir + "/" + all[i].path
	}
	if p.os == "windows" {
		return r.write(dir+".zip", func(w io.Writer) error { return zipped(w, all, r.time) })
	}
	return r.write(dir+".tar.gz", func(w io.Writer) error {
		z := gzip.NewWriter(w)
		if err := tarred(z, all, r.time); err != nil {
			return err
		}
		return z.Close()
	})
}

func tarred(w io.Writer, all []content, at time.Time) error {
	t := tar.NewWriter(w)
	for _, c := range all {
		b, err := os.ReadFile(c.from)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: c.path, Mode: int64(c.mode), Size: int64(len(b)), ModTime: at, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(b); err != nil {
			return err
		}
	}
	return t.Close()
}

func zipped(w io.Writer, all []content, at time.Time) error {
	z := zip.NewWriter(w)
	for _, c := range all {
		b, err := os.ReadFile(c.from)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: c.path, Method: zip.Deflate, Modified: at}
		h.SetMode(c.mode)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(b); err != nil {
			return err
		}
	}
	return z.Close()
}
