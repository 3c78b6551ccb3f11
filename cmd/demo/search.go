package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// readLines returns the lines of a JSONL file, gzipped or not.
func readLines(path string) ([][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	br := bufio.NewReader(f)
	var r io.Reader = br
	if magic, _ := br.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if r, err = gzip.NewReader(br); err != nil {
			return nil, err
		}
	}
	all, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	return bytes.Split(bytes.TrimSpace(all), []byte{'\n'}), nil
}

// needlesOf returns names of some of the documents, long enough to be found
// only where they were written.
func needlesOf(lines [][]byte) [][]byte {
	var needles [][]byte
	for i := 0; i < len(lines) && len(needles) < 200; i += max(1, len(lines)/2000) {
		var doc struct{ Name string }
		if json.Unmarshal(lines[i], &doc) == nil && len(doc.Name) >= 12 {
			needles = append(needles, []byte(doc.Name))
		}
	}
	return needles
}

// search returns which needles occur in the files under the home dir, or in what its
// store gives of them, which packs them; and how many bytes it looked through.
func search(dir string, needles [][]byte) (found []string, searched int64, err error) {
	seen := map[int]bool{}
	look := func(where string, p []byte) {
		searched += int64(len(p))
		for i, n := range needles {
			if !seen[i] && bytes.Contains(p, n) {
				seen[i] = true
				found = append(found, fmt.Sprintf("%q in %s", n, where))
			}
		}
	}
	s, err := engines.Open(filepath.Join(dir, "store"), nil)
	if err != nil {
		return nil, 0, err
	}
	snap := s.Snapshot()
	it := snap.Iterate(store.Range{})
	for ; it.Valid() && err == nil; it.Next() {
		var value []byte
		value, err = it.Value()
		look("a key of the store", it.Key())
		look("a value of the store", value)
	}
	err = errors.Join(err, it.Err())
	it.Close()
	snap.Release()
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, 0, err
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		p, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		look(filepath.Base(path), p)
		return nil
	})
	return found, searched, err
}

// diskUse returns the bytes of the files under dir; 0 if it does not exist.
func diskUse(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// size prints a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	case n >= 10<<10:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}
