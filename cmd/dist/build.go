package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// head returns the commit that is checked out, and its time. Of a source that is no checkout
// SOURCE_DATE_EPOCH says the time.
func (r *release) head() (commit string, at time.Time, err error) {
	out, err := r.command(nil, "git", "log", "-1", "--format=%H %ct")
	if sec, perr := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err != nil && perr == nil {
		return "000000000000", time.Unix(sec, 0).UTC(), nil
	}
	if err != nil {
		return "", at, fmt.Errorf("no commit is checked out, and SOURCE_DATE_EPOCH does not say a time: %w", err)
	}
	commit, sec, _ := strings.Cut(strings.TrimSpace(out), " ")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || len(commit) < 12 {
		return "", at, fmt.Errorf("git says %q of the commit", out)
	}
	return commit, time.Unix(n, 0).UTC(), nil
}

// command runs a program in the checkout and returns what it printed.
func (r *release) command(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = r.source
	cmd.Env = append(os.Environ(), env...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, said.String())
	}
	return out.String(), nil
}

// built is where the binary of a platform is before it is packed.
func (r *release) built(p platform) string {
	return filepath.Join(r.work, p.os+"-"+p.arch, p.binary())
}

// build builds the binary of a platform: stripped, with no path of this machine.
func (r *release) build(p platform) error {
	_, err := r.command([]string{"GOOS=" + p.os, "GOARCH=" + p.arch, "CGO_ENABLED=0"},
		"go", "build", "-trimpath", "-buildvcs=auto",
		"-ldflags=-s -w -buildid= -X github.com/weftdb/weft/node.release="+r.version, "-o", r.built(p), "./cmd/weft")
	return err
}

// The folders of what reference makes.
const (
	dirMan         = "man"
	dirCompletions = "completions"
)

// reference makes the man pages and the completions: the command line's own test writes them.
func (r *release) reference() error {
	_, err := r.command([]string{
		"CGO_ENABLED=0", "WEFT_MANUAL=" + r.work,
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.time.Unix(), 10),
	}, "go", "test", "-count=1", "-run", "^TestManual$", "./cmd/weft")
	return err
}
