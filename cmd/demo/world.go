package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A world is the homes of the demo and the daemons that run in them.
type world struct {
	ctx   context.Context //nolint:containedctx // a world lives as long as one run of the demo
	bin   string          // absolute path of weft
	dir   string          // holds one folder a home
	homes []*home
}

// A home is one device: a WEFT_HOME and perhaps a running daemon.
type home struct {
	w      *world
	name   string
	path   string
	daemon *exec.Cmd
	log    *bytes.Buffer // the daemon's stderr
	addrs  []string      // p2p addresses of the running daemon
}

// home makes and initialises a new home.
func (w *world) home(name string) (*home, error) {
	h := &home{w: w, name: name, path: filepath.Join(w.dir, name)}
	w.homes = append(w.homes, h)
	_, err := h.weft("init")
	return h, err
}

// weft runs one command in the home with --json and returns its output.
func (h *home) weft(args ...string) ([]byte, error) { return h.weftInput(nil, args...) }

func (h *home) weftInput(in io.Reader, args ...string) ([]byte, error) {
	cmd := h.command(args...)
	cmd.Stdin = in
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: weft %s: %w: %s", h.name, strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return out.Bytes(), nil
}

// weftJSON runs one command and decodes its one JSON value into v.
func (h *home) weftJSON(v any, args ...string) error {
	out, err := h.weft(args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, v); err != nil {
		return fmt.Errorf("%s: weft %s: %w in %q", h.name, strings.Join(args, " "), err, out)
	}
	return nil
}

func (h *home) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(h.w.ctx, h.w.bin, append(args, "--json")...)
	cmd.Env = []string{"WEFT_HOME=" + h.path, "PATH=" + os.Getenv("PATH"), "HOME=" + h.w.dir}
	return cmd
}

// start runs the home's daemon and returns when it is ready.
func (h *home) start(args ...string) error {
	args = append([]string{
		"daemon", "--mdns=false", "--api", "127.0.0.1:0",
		"--p2p", "/ip4/127.0.0.1/udp/0/quic-v1", "--p2p", "/ip4/127.0.0.1/tcp/0",
	}, args...)
	cmd := h.command(args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	h.log = new(bytes.Buffer)
	cmd.Stderr = h.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: daemon: %w", h.name, err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var ready struct {
		P2P []string `json:"p2p"`
	}
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("%s: daemon did not get ready: %w: %s%s", h.name, err, line, h.log)
	}
	h.daemon, h.addrs = cmd, ready.P2P
	return nil
}

// stop ends the daemon in an orderly way and waits for it.
func (h *home) stop() error {
	if h.daemon == nil {
		return nil
	}
	cmd := h.daemon
	h.daemon = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: daemon ended with %w: %s", h.name, err, h.log)
	}
	return nil
}

// stopAll ends every daemon that still runs.
func (w *world) stopAll() error {
	var errs []error
	for _, h := range w.homes {
		errs = append(errs, h.stop())
	}
	return errors.Join(errs...)
}

// addr returns the daemon's TCP address.
func (h *home) addr() (string, error) {
	for _, a := range h.addrs {
		if strings.Contains(a, "/tcp/") {
			return a, nil
		}
	}
	return "", fmt.Errorf("%s: no TCP address among %q", h.name, h.addrs)
}

// rss returns the daemon's resident memory in bytes, or 0 where the system does
// not tell.
func (h *home) rss() int64 {
	if h.daemon == nil {
		return 0
	}
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.daemon.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(p)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}
