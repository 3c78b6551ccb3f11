//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/client"
)

const (
	base     = "s"   // the database
	coll     = "c"   // its collection
	hot      = "hot" // a document that everybody updates
	diskSize = 64    // MB of a small disk
)

// A history is one run: devices, a relay, and what happens to them.
type history struct {
	ctx    context.Context //nolint:containedctx // bounds the whole history
	bin    string
	dir    string
	rnd    *rand.Rand
	counts *tally
	log    []string
	model  *model

	relay   *device
	devices []*device // members, the owner first
	all     []*device
}

// run sets the world up, lets things happen, and compares what is left.
func (h *history) run() error {
	if err := h.begin(); err != nil {
		return fmt.Errorf("set-up: %w", err)
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	for range 10 + h.rnd.IntN(30) {
		d, n := h.devices[h.rnd.IntN(len(h.devices))], h.rnd.IntN(total)
		for _, s := range steps {
			if n -= s.weight; n >= 0 {
				continue
			}
			h.log = append(h.log, s.name+" "+d.name)
			h.counts.add(s.name)
			if err := s.run(h, d); err != nil {
				return fmt.Errorf("%s at %s: %w", s.name, d.name, err)
			}
			break
		}
	}
	if err := h.settle(); err != nil {
		return err
	}
	return h.finish()
}

// begin makes a relay, an owner and a member.
func (h *history) begin() (err error) {
	if h.relay, err = h.device("relay", false); err != nil {
		return err
	}
	h.relay.args = []string{"--relay"}
	if err := h.relay.start(); err != nil {
		return err
	}
	for _, name := range []string{"a", "b"} {
		if err := h.addDevice(name); err != nil {
			return err
		}
	}
	return nil
}

// device makes a home, on a small disk of its own if small.
func (h *history) device(name string, small bool) (*device, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	d := &device{h: h, name: name, home: filepath.Join(h.dir, name), port: port, pushed: filepath.Join(h.dir, name+"-files")}
	if small {
		disk := filepath.Join(h.dir, name+"-disk")
		if err := os.Mkdir(disk, 0o700); err != nil {
			return nil, err
		}
		if exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", diskSize), "tmpfs", disk).Run() == nil {
			d.mount, d.home = disk, filepath.Join(disk, "home")
		}
	}
	h.all = append(h.all, d)
	_, err = d.weft("init")
	return d, err
}

// addDevice makes a device that uses the relay and has the database.
func (h *history) addDevice(name string) error {
	d, err := h.device(name, h.rnd.IntN(3) == 0)
	if err != nil {
		return err
	}
	h.relay.thaw()
	if err := h.relay.start(); err != nil {
		return err
	}
	var key struct{ Key, Secret string }
	if out, err := h.relay.weft("key", "create", "--type", "user"); err != nil || json.Unmarshal(out, &key) != nil {
		return fmt.Errorf("key create: %w", err)
	}
	if _, err := d.weft("relay", "add", h.relay.addr, "--key", key.Key, "--secret", key.Secret); err != nil {
		return err
	}
	if err := d.start(); err != nil {
		return err
	}
	if len(h.devices) == 0 {
		for _, args := range [][]string{
			{"db", "create", base},
			{"collection", "create", base, coll},
			{"index", "create", base, coll, "n"},
			{"insert", base, coll, `{"_id":"` + hot + `","list":[]}`},
			{"bucket", "create", "files", "--db", base},
		} {
			if _, err := d.weft(args...); err != nil {
				return err
			}
		}
	} else {
		owner := h.devices[0]
		owner.thaw()
		if err := owner.start(); err != nil {
			return err
		}
		var invite struct{ URL string }
		if out, err := owner.weft("db", "invite", base); err != nil || json.Unmarshal(out, &invite) != nil {
			return fmt.Errorf("invite: %w", err)
		}
		if _, err := d.weft("db", "join", invite.URL, "--name", base); err != nil {
			return err
		}
	}
	h.devices = append(h.devices, d)
	return nil
}

// command runs a command document at a client. A write that a full disk refused
// is no failure.
func (h *history) command(c *client.Client, cmd bson.D) (bson.Raw, error) {
	p, err := bson.Marshal(cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(h.ctx, 30*time.Second)
	defer cancel()
	r, err := c.Documents.Run(ctx, connect.NewRequest(&weftv1.RunRequest{Database: base, Command: p}))
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%v hangs", cmd[0])
	}
	if err != nil {
		return nil, err
	}
	reply := bson.Raw(r.Msg.Reply)
	if ok, _ := reply.Lookup("ok").AsFloat64OK(); ok != 1 {
		return reply, fmt.Errorf("%v: %v", cmd[0], reply)
	}
	if errs, is := reply.Lookup("writeErrors").ArrayOK(); is {
		return reply, fmt.Errorf("%v: %v", cmd[0], errs)
	}
	return reply, nil
}

// reaches says whether the device's daemon answers.
func (d *device) reaches() bool { return d.daemon != nil && !d.frozen }

// until tries again until it works.
func (h *history) until(limit time.Duration, what string, try func() error) error {
	end := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(end) || h.ctx.Err() != nil {
			return fmt.Errorf("%s: not after %v: %w", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond) // processes have no event that another can wait for
	}
}

// settle starts everything and waits until all replicas are one.
func (h *history) settle() error {
	for _, d := range h.all {
		d.thaw()
		if err := d.start(); err != nil {
			return err
		}
	}
	return h.until(45*time.Second, "all devices are identical", func() error {
		var first []byte
		for _, d := range h.devices {
			ctx, cancel := context.WithTimeout(h.ctx, 30*time.Second)
			info, err := d.api.Databases.Info(ctx, connect.NewRequest(&weftv1.DatabaseInfoRequest{Name: base}))
			cancel()
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			if first == nil {
				first = info.Msg.Hash
			}
			if !bytes.Equal(first, info.Msg.Hash) {
				return fmt.Errorf("%s has state %x, %s has %x; %s", d.name, info.Msg.Hash[:4], h.devices[0].name, first[:4], h.statuses())
			}
		}
		return nil
	})
}

// statuses says how every device stands with its peers.
func (h *history) statuses() string {
	var b strings.Builder
	for _, d := range h.devices {
		s, err := d.api.Databases.Status(h.ctx, connect.NewRequest(&weftv1.DatabaseStatusRequest{Name: base}))
		if err != nil {
			continue
		}
		for _, p := range s.Msg.Peers {
			fmt.Fprintf(&b, "%s-%s:%s %s ", d.name, p.Role, p.State, p.Code)
		}
	}
	return b.String()
}

// find returns the documents of a device by their _id.
func (h *history) find(d *device) (map[string]bson.Raw, error) {
	ctx, cancel := context.WithTimeout(h.ctx, 30*time.Second)
	defer cancel()
	stream, err := d.api.Documents.Find(ctx, connect.NewRequest(&weftv1.FindRequest{Database: base, Collection: coll}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	docs := map[string]bson.Raw{}
	for stream.Receive() {
		for _, p := range stream.Msg().Documents {
			docs[bson.Raw(p).Lookup("_id").StringValue()] = p
		}
	}
	return docs, stream.Err()
}

// refused returns the list of refused operations of a device.
func (h *history) refused(d *device) (string, error) {
	out, err := d.weft("refused", base)
	return string(out), err
}

// finish compares the replicas with each other and with the model, and ends all.
func (h *history) finish() error {
	var refused, root string
	for i, d := range h.devices {
		docs, err := h.find(d)
		if err != nil {
			return err
		}
		if err := h.model.check(docs); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
		list, err := h.refused(d)
		if err != nil {
			return err
		}
		out, err := d.weft("bucket", "root", base+"/files")
		if err != nil {
			return err
		}
		if i == 0 {
			refused, root = list, string(out)
		}
		if list != refused {
			return fmt.Errorf("the refused lists of %s and %s differ:\n%s\n%s", h.devices[0].name, d.name, refused, list)
		}
		if string(out) != root {
			return fmt.Errorf("the bucket of %s has root %s, that of %s %s", h.devices[0].name, root, d.name, out)
		}
	}
	for _, d := range h.all {
		if err := d.end(syscall.SIGTERM); err != nil {
			return err
		}
		if said := d.stderr.String(); strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
			return fmt.Errorf("%s: %s", d.name, said)
		}
	}
	return nil
}

// killAll leaves no process behind.
func (h *history) killAll() {
	for _, d := range h.all {
		_ = d.end(syscall.SIGKILL)
	}
}

func (h *history) unmount() {
	for _, d := range h.all {
		if d.mount != "" {
			_ = exec.Command("umount", "-l", d.mount).Run()
		}
	}
}
