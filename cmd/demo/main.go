// Command demo runs Weft's main job on real data: two devices that never meet,
// one relay that can read nothing, and two strangers that it refuses. Every
// device is a process of its own with its own WEFT_HOME, on loopback.
//
// It prints a short report and exits non-zero if any comparison fails. Nothing
// that it started is left running.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	weft := flag.String("weft", "bin/weft", "the weft binary")
	data := flag.String("data", "testdata/cities-sample.jsonl.gz", "documents as JSONL, gzipped or not")
	files := flag.String("files", "testdata/files", "folder to push")
	keep := flag.Bool("keep", false, "keep the homes after the run")
	limit := flag.Duration("timeout", 8*time.Minute, "time limit for the whole demo")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, *weft, *data, *files, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run prepares the world, tells the story and always takes the world down.
func run(ctx context.Context, weft, data, files string, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "weft-demo-")
	if err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(dir)
	}
	bin, err := filepath.Abs(weft)
	if err != nil {
		return err
	}
	w := &world{ctx: ctx, bin: bin, dir: dir}
	defer func() {
		if stopErr := w.stopAll(); err == nil {
			err = stopErr
		}
		if keep {
			fmt.Println("homes kept in", dir)
		}
	}()
	s := &story{world: w, data: data, files: files}
	if err := s.tell(); err != nil {
		return err
	}
	fmt.Printf("\nall %d comparisons hold\n", s.checks)
	return nil
}
