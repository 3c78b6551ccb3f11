//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	stdnet "net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weftdb/weft/node/client"
)

// endWithin is how long a daemon may take to end when it is asked to.
const endWithin = 10 * time.Second

// A device is a home and maybe the daemon that has it open.
type device struct {
	h       *history
	name    string
	home    string
	args    []string // of its daemon
	port    int      // of p2p, the same in each life
	mount   string   // where its own small disk is mounted; "" if it has none
	daemon  *exec.Cmd
	frozen  bool
	addr    string
	api     *client.Client
	stderr  *output
	pushed  string // folder that it pushes to the bucket
	crashed bool   // the last daemon was killed
	hasHot  bool   // it has had the hot document since its home was made or put back
}

// An output keeps what a daemon says on standard error.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// weft runs one command at the home and returns what it prints.
func (d *device) weft(args ...string) ([]byte, error) { return d.weftInput(nil, args...) }

func (d *device) weftInput(in []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(d.h.ctx, 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.h.bin, append(args, "--json")...)
	cmd.Env = []string{"WEFT_HOME=" + d.home, "PATH=" + os.Getenv("PATH"), "HOME=" + d.h.dir}
	cmd.Stdin = bytes.NewReader(in)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: weft %s hangs", d.name, strings.Join(args, " "))
	}
	if err != nil {
		return out.Bytes(), &commandError{fmt.Sprintf("%s: weft %s", d.name, strings.Join(args, " ")), strings.TrimSpace(errOut.String())}
	}
	return out.Bytes(), nil
}

// A commandError is how a command said no.
type commandError struct{ what, said string }

func (e *commandError) Error() string { return e.what + ": " + e.said }

// freePort returns a TCP port that nobody listens at, of those that the system gives to
// nobody by itself: it must be free in each life of the device.
func freePort() (int, error) {
	const lowest, ports, tries = 10_000, 20_000, 100
	for n := 1; ; n++ {
		port := lowest + rand.N(ports)
		l, err := stdnet.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, l.Close()
		}
		if n == tries {
			return 0, err
		}
	}
}

// start runs the home's daemon and returns when it is ready.
func (d *device) start() error {
	if d.daemon != nil {
		return nil
	}
	args := append([]string{
		"daemon", "--mdns=false", "--json", "--api", "127.0.0.1:0",
		"--p2p", fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", d.port),
	}, d.args...)
	cmd := exec.Command(d.h.bin, args...)
	cmd.Env = []string{"WEFT_HOME=" + d.home, "PATH=" + os.Getenv("PATH"), "HOME=" + d.h.dir}
	d.stderr = &output{}
	cmd.Stderr = d.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: daemon: %w", d.name, err)
	}
	late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	late.Stop()
	var ready struct {
		P2P []string `json:"p2p"`
		API string   `json:"api"`
	}
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return &startError{d.name, d.stderr.String()}
	}
	d.daemon, d.frozen, d.crashed = cmd, false, false
	d.addr = ready.P2P[0]
	d.api, err = client.Open(d.h.ctx, client.Options{Home: d.home, API: ready.API})
	return err
}

// A startError is how a daemon said that it cannot start.
type startError struct{ name, said string }

func (e *startError) Error() string {
	return fmt.Sprintf("%s: the daemon does not start: %s", e.name, strings.TrimSpace(e.said))
}

// end sends a signal to the daemon and waits for its end.
func (d *device) end(sig syscall.Signal) error {
	if d.daemon == nil {
		return nil
	}
	cmd := d.daemon
	d.daemon = nil
	if d.frozen {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		d.frozen = false
	}
	_ = d.api.Close()
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if sig == syscall.SIGKILL {
		d.crashed = true
		_ = cmd.Wait()
		return nil
	}
	late := time.AfterFunc(endWithin, func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		time.AfterFunc(2*time.Second, func() { _ = cmd.Process.Kill() })
	})
	err := cmd.Wait()
	if !late.Stop() {
		return fmt.Errorf("%s: the daemon has not ended %v after %v:\n%s", d.name, endWithin, sig, d.stderr)
	}
	if err != nil {
		return fmt.Errorf("%s: the daemon ended with %w after %v: %s", d.name, err, sig, d.stderr)
	}
	return nil
}

// thaw lets a frozen daemon go on.
func (d *device) thaw() {
	if d.daemon != nil && d.frozen {
		_ = d.daemon.Process.Signal(syscall.SIGCONT)
		d.frozen = false
	}
}

func (d *device) freeze() {
	if d.daemon != nil {
		_ = d.daemon.Process.Signal(syscall.SIGSTOP)
		d.frozen = true
	}
}

// files returns the paths of the files of the store that hold something.
func (d *device) files() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(d.home, "store", "*"))
	if err != nil {
		return nil, err
	}
	var some []string
	for _, name := range all {
		if fi, err := os.Stat(name); err == nil && fi.Mode().IsRegular() && fi.Size() > 0 {
			some = append(some, name)
		}
	}
	return some, nil
}
