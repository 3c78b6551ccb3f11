// Command dist builds what is given to people, from a checkout: an archive for each platform,
// Debian packages, an image for containers, a list of what is linked, checksums.
//
//	main.go      what is made, and in which order
//	platform.go  the platforms that are supported
//	build.go     one binary; the man pages and completions
//	archive.go   .tar.gz and .zip
//	deb.go       packages for Debian
//	image.go     an OCI image from scratch
//	sbom.go      the modules of a binary, as CycloneDX
//
// Everything is a function of the commit and of the release of Go: times are the commit's, no
// path of the machine is in it. It is a module of its own, as no program of Weft needs what it
// imports.
package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "dist", "the folder to write to; what a run of before wrote there is removed")
	source := flag.String("source", ".", "the checkout")
	only := flag.String("platforms", "", "the platforms to build, such as linux/amd64,windows/amd64; all if empty")
	version := flag.String("version", "", "the version; 0.0.0 and the commit if empty")
	flag.Parse()
	if err := run(*source, *out, *only, *version); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

// A release is what all files of a run have in common.
type release struct {
	source, out string
	work        string // what is built before it is packed
	version     string // without a v
	commit      string
	time        time.Time // of the commit

	files []file // what is written, for the checksums
}

// A file is one that was written.
type file struct {
	name string
	size int64
	sum  string
}

func run(source, out, only, version string) (err error) {
	platforms, err := choose(only)
	if err != nil {
		return err
	}
	r := &release{version: strings.TrimPrefix(version, "v")}
	if r.source, err = filepath.Abs(source); err != nil {
		return err
	}
	if r.out, err = filepath.Abs(out); err != nil {
		return err
	}
	if r.commit, r.time, err = r.head(); err != nil {
		return err
	}
	r.version = cmp.Or(r.version, "0.0.0-"+r.time.UTC().Format("20060102150405")+"."+r.commit[:12])
	if r.work, err = os.MkdirTemp("", "weft-dist-"); err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(r.work)) }()
	if err := r.empty(); err != nil {
		return err
	}
	if err := r.reference(); err != nil {
		return err
	}
	var images []platform
	for _, p := range platforms {
		if err := r.build(p); err != nil {
			return err
		}
		if err := r.archive(p); err != nil {
			return err
		}
		if err := r.sbom(p); err != nil {
			return err
		}
		if p.os == "linux" {
			images = append(images, p)
			if err := r.deb(p); err != nil {
				return err
			}
		}
	}
	if len(images) > 0 {
		if err := r.image(images); err != nil {
			return err
		}
	}
	return r.sums()
}

// empty makes out a folder that has nothing of a run before. It removes only names that it
// gives: a mistyped folder loses nothing.
func (r *release) empty() error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	for _, f := range old {
		if f.Type().IsRegular() && (strings.HasPrefix(f.Name(), "weft-") || strings.HasPrefix(f.Name(), "weft_") || f.Name() == "SHA256SUMS") {
			if err := os.Remove(filepath.Join(r.out, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// write writes one file of the release; it exists whole or not at all.
func (r *release) write(name string, content func(w io.Writer) error) (err error) {
	f, err := os.CreateTemp(r.out, "weft-*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			_ = os.Remove(f.Name()) // the first error says more
		}
	}()
	h := sha256.New()
	n := &counter{}
	err = content(io.MultiWriter(f, h, n))
	if err = cmp.Or(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(r.out, name)); err != nil {
		return err
	}
	r.files = append(r.files, file{name, n.n, hex.EncodeToString(h.Sum(nil))})
	fmt.Printf("%10.1f MB  %s\n", float64(n.n)/1e6, name)
	return nil
}

// sums writes what sha256sum -c reads.
func (r *release) sums() error {
	files := slices.Clone(r.files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return r.write("SHA256SUMS", func(w io.Writer) error {
		for _, f := range files {
			if _, err := fmt.Fprintf(w, "%s  %s\n", f.sum, f.name); err != nil {
				return err
			}
		}
		return nil
	})
}

// A counter counts bytes.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }
