//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/node/client"
)

// A step is one thing that may happen.
type step struct {
	name   string
	weight int
	run    func(*history, *device) error
}

var steps = []step{
	{"write", 30, (*history).write},
	{"hot updates", 15, (*history).updateHot},
	{"delete", 8, (*history).remove},
	{"kill", 8, (*history).kill},
	{"end", 4, func(_ *history, d *device) error { return d.end(syscall.SIGTERM) }},
	{"hang up", 2, func(_ *history, d *device) error { return d.end(syscall.SIGHUP) }},
	{"start", 12, func(_ *history, d *device) error { d.thaw(); return d.start() }},
	{"freeze", 4, func(_ *history, d *device) error { d.freeze(); return nil }},
	{"freeze the relay", 2, func(h *history, _ *device) error { h.relay.freeze(); return nil }},
	{"kill the relay", 2, func(h *history, _ *device) error { return h.relay.end(syscall.SIGKILL) }},
	{"start the relay", 6, func(h *history, _ *device) error { h.relay.thaw(); return h.relay.start() }},
	{"write offline", 6, (*history).writeOffline},
	{"refused import", 4, (*history).refusedImport},
	{"push files", 6, (*history).push},
	{"fill the disk", 4, (*history).fill},
	{"flip a bit", 4, (*history).flip},
	{"backup and restore", 2, (*history).restore},
	{"stranger", 3, (*history).stranger},
	{"late joiner", 3, (*history).join},
	{"settle", 4, func(h *history, _ *device) error { return h.settle() }},
}

func (h *history) write(d *device) error {
	if !d.reaches() {
		return nil
	}
	return h.insert(d.api)
}

// insert inserts a batch of one of three sizes.
func (h *history) insert(c *client.Client) error {
	n := []int{1, 10, 300}[h.rnd.IntN(3)]
	var docs bson.A
	var ids []string
	for range n {
		id := h.model.id()
		ids = append(ids, id)
		docs = append(docs, bson.D{{Key: "_id", Value: id}, {Key: "n", Value: h.rnd.IntN(100)}, {Key: "t", Value: strings.Repeat("x", h.rnd.IntN(600))}})
	}
	h.model.set(ids, maybe)
	if _, err := h.command(c, bson.D{{Key: "insert", Value: coll}, {Key: "documents", Value: docs}}); err != nil {
		return err
	}
	h.model.set(ids, present)
	return nil
}

// updateHot updates one document many times.
func (h *history) updateHot(d *device) error {
	if !d.reaches() {
		return nil
	}
	counter, n := d.name, []int{1, 20, 400}[h.rnd.IntN(3)]
	token := h.model.id()
	var updates bson.A
	for range n {
		updates = append(updates, bson.D{{Key: "q", Value: bson.D{{Key: "_id", Value: hot}}}, {Key: "u", Value: bson.D{{Key: "$inc", Value: bson.D{{Key: counter, Value: int64(1)}}}}}})
	}
	updates = append(updates, bson.D{{Key: "q", Value: bson.D{{Key: "_id", Value: hot}}}, {Key: "u", Value: bson.D{{Key: "$push", Value: bson.D{{Key: "list", Value: token}}}}}})
	h.model.asked[counter] += int64(n)
	h.model.tokens[token] = false
	r, err := h.command(d.api, bson.D{{Key: "update", Value: coll}, {Key: "updates", Value: updates}})
	if err != nil {
		return err
	}
	matched, _ := r.Lookup("n").AsInt64OK()
	if matched < 0 || matched > int64(n)+1 || d.hasHot && matched != int64(n)+1 {
		return fmt.Errorf("%d updates of one document matched %d", n+1, matched)
	}
	// It may arrive here while they run: then those from there on match, and the token's
	// is the last.
	if matched > 0 {
		d.hasHot = true
		h.model.acked[counter] += matched - 1
		h.model.tokens[token] = true
	}
	return nil
}

// remove deletes some documents, those of others too.
func (h *history) remove(d *device) error {
	if !d.reaches() {
		return nil
	}
	ids := h.model.some(1 + h.rnd.IntN(5))
	if len(ids) == 0 {
		return nil
	}
	h.model.set(ids, leaving)
	for _, id := range ids {
		r, err := h.command(d.api, bson.D{{Key: "delete", Value: coll}, {Key: "deletes", Value: bson.A{bson.D{{Key: "q", Value: bson.D{{Key: "_id", Value: id}}}, {Key: "limit", Value: 1}}}}})
		if err != nil {
			return err
		}
		if n, _ := r.Lookup("n").AsInt64OK(); n == 1 {
			h.model.set([]string{id}, absent)
		} // else it had not arrived here
	}
	return nil
}

// kill kills a daemon in the middle of writes.
func (h *history) kill(d *device) error {
	if !d.reaches() {
		return nil
	}
	api, ended := d.api, make(chan struct{})
	go func() {
		defer close(ended)
		for range 20 {
			id := h.model.id()
			h.model.set([]string{id}, maybe)
			if _, err := h.command(api, bson.D{{Key: "insert", Value: coll}, {Key: "documents", Value: bson.A{bson.D{{Key: "_id", Value: id}}}}}); err != nil {
				return
			}
			h.model.set([]string{id}, present)
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Duration(h.rnd.IntN(30)) * time.Millisecond): // a kill comes at any moment
	}
	err := d.end(syscall.SIGKILL)
	<-ended
	return err
}

// writeOffline writes with no daemon, in a process of its own.
func (h *history) writeOffline(d *device) error {
	if err := d.end(syscall.SIGTERM); err != nil {
		return err
	}
	id := h.model.id()
	h.model.set([]string{id}, maybe)
	if _, err := d.weft("insert", base, coll, fmt.Sprintf(`{"_id":%q}`, id)); err != nil {
		return err
	}
	h.model.set([]string{id}, present)
	return nil
}

// refusedImport streams a megabyte to a database that is not there.
func (h *history) refusedImport(d *device) error {
	if d.frozen {
		return nil
	}
	name := filepath.Join(h.dir, "big.jsonl")
	if _, err := os.Stat(name); err != nil {
		if err := os.WriteFile(name, bytes.Repeat([]byte(`{"a":"`+strings.Repeat("x", 200)+`"}`+"\n"), 5000), 0o600); err != nil {
			return err
		}
	}
	_, err := d.weft("import", "nope", coll, name)
	var refused *commandError
	if !errors.As(err, &refused) {
		return fmt.Errorf("an import into no database: %w", err)
	}
	if !strings.Contains(refused.said, `"not_found"`) {
		return fmt.Errorf("an import into no database says %q", refused.said)
	}
	return nil
}

// push writes some files and pushes them.
func (h *history) push(d *device) error {
	if d.frozen {
		return nil
	}
	for range 1 + h.rnd.IntN(4) {
		p := make([]byte, []int{0, 100, 5000, 300_000}[h.rnd.IntN(4)])
		for i := range p {
			p[i] = byte(h.rnd.Uint32())
		}
		name := filepath.Join(d.pushed, fmt.Sprintf("%s%d", d.name, h.rnd.IntN(6)))
		if err := errors.Join(os.MkdirAll(d.pushed, 0o700), os.WriteFile(name, p, 0o600)); err != nil {
			return err
		}
	}
	_, err := d.weft("bucket", "push", base+"/files", d.pushed)
	var refused *commandError
	if errors.As(err, &refused) && strings.Contains(refused.said, `"not_found"`) && d != h.devices[0] {
		return nil // the bucket has not arrived at this member
	}
	return err
}

// fill fills the device's own disk, writes, and makes room again.
func (h *history) fill(d *device) error {
	if d.mount == "" || !d.reaches() {
		return nil
	}
	filler := filepath.Join(d.mount, "filler")
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	chunk := make([]byte, 1<<20)
	for size := len(chunk); size > 0; {
		n, err := f.Write(chunk[:size])
		if err != nil && n < size {
			size /= 2
		}
	}
	_ = f.Close()
	full := false
	for range 50 {
		err := h.insert(d.api)
		if err == nil {
			continue
		}
		if !isFull(err) {
			return errors.Join(err, os.Remove(filler))
		}
		full = true
		break
	}
	if _, err := h.find(d); err != nil {
		return errors.Join(fmt.Errorf("a read on a full disk: %w", err), os.Remove(filler))
	}
	if h.rnd.IntN(3) == 0 { // ends and starts on a full disk
		if err := d.end(syscall.SIGTERM); err != nil {
			return errors.Join(err, os.Remove(filler))
		}
		if err := d.start(); err != nil && !isFull(err) {
			return errors.Join(err, os.Remove(filler))
		}
	}
	if err := os.Remove(filler); err != nil {
		return err
	}
	if err := d.start(); err != nil {
		return err
	}
	if full {
		h.counts.add("writes refused by a full disk")
	}
	return h.until(20*time.Second, "writes resume when there is room", func() error { return h.insert(d.api) })
}

func isFull(err error) bool { return strings.Contains(err.Error(), "free some space") }

// flip flips a bit of the store of a device whose writes have travelled. What it
// touches must be told, and the doctor must get it back.
func (h *history) flip(d *device) error {
	if err := h.settle(); err != nil {
		return err
	}
	sig := syscall.SIGTERM
	if h.rnd.IntN(2) == 0 {
		sig = syscall.SIGKILL
	}
	if err := d.end(sig); err != nil {
		return err
	}
	files, err := d.files()
	if err != nil || len(files) == 0 {
		return err
	}
	name := files[h.rnd.IntN(len(files))]
	p, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	at := h.rnd.IntN(len(p))
	p[at] ^= 1 << h.rnd.IntN(8)
	if err := os.WriteFile(name, p, 0o600); err != nil {
		return err
	}
	h.log[len(h.log)-1] += fmt.Sprintf(" (%s at %d)", filepath.Base(name), at)
	if _, err := d.weft("doctor"); err != nil {
		var found *commandError
		if !errors.As(err, &found) {
			return err
		}
		h.counts.add("damage that the doctor found")
		d.hasHot = false
		_, err := d.weft("doctor", "--repair")
		if errors.As(err, &found) && strings.Contains(found.said, `"disk_full"`) { // by damaged stores that are kept
			kept, gerr := filepath.Glob(filepath.Join(d.home, "store.damaged-*"))
			for _, dir := range kept {
				gerr = errors.Join(gerr, os.RemoveAll(dir))
			}
			if gerr != nil {
				return gerr
			}
			_, err = d.weft("doctor", "--repair")
		}
		if err != nil {
			return err
		}
		if _, err := d.weft("doctor"); err != nil {
			return fmt.Errorf("after the repair: %w", err)
		}
	}
	return d.start()
}

// restore replaces a home by its backup.
func (h *history) restore(d *device) error {
	if err := h.settle(); err != nil {
		return err
	}
	file := filepath.Join(h.dir, d.name+".backup")
	if _, err := d.weft("backup", file); err != nil {
		return err
	}
	if err := h.insert(d.api); err != nil && !isFull(err) {
		return err
	}
	if err := h.settle(); err != nil { // what the backup lacks is with others
		return err
	}
	if err := errors.Join(d.end(syscall.SIGTERM), os.RemoveAll(d.home)); err != nil {
		return err
	}
	d.hasHot = false
	if _, err := d.weft("restore", file); err != nil {
		return err
	}
	return errors.Join(os.Remove(file), d.start())
}

// join adds a third or fourth device.
func (h *history) join(*device) error {
	if len(h.devices) >= 4 {
		return nil
	}
	return h.addDevice(string(rune('a' + len(h.devices))))
}
