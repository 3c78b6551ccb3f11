//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing/fstest"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
)

const (
	soakDocs   = 2000             // documents that are written again and again
	soakRound  = 100              // writes of one round
	soakPause  = time.Second      // between rounds
	soakSample = time.Minute      // between samples; a tenth of a short soak
	compactAt  = 10 * time.Minute // between cuts of the history; a fifth of a short soak
)

// A sample is what the process holds at a quiet moment, after a collection.
type sample struct {
	goroutines int
	heap       uint64 // bytes in use
	files      int    // open, but for tables of stores
	disk       int64  // bytes of the homes
}

// runSoak lets a relay and two devices write, query, watch, push and reconnect for
// d in this process. At the end goroutines, heap and open files must be what they
// were after the first third.
func runSoak(ctx context.Context, d time.Duration, seed uint64) error {
	dir, err := os.MkdirTemp("", "weft-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w := &soak{ctx: ctx, dir: dir, rnd: rand.New(rand.NewPCG(seed, 2))}
	defer w.close()
	if err := w.begin(); err != nil {
		return err
	}
	var samples []sample
	every, cut := min(soakSample, d/10), min(compactAt, d/5)
	begin := time.Now()
	nextSample, nextCut := begin.Add(every), begin.Add(cut)
	for time.Since(begin) < d {
		if err := w.round(); err != nil {
			return fmt.Errorf("after %v: %w", time.Since(begin).Round(time.Second), err)
		}
		if time.Now().After(nextCut) {
			nextCut = time.Now().Add(cut)
			if _, err := w.a.Compact(ctx, base); err != nil {
				return err
			}
		}
		if time.Now().After(nextSample) {
			nextSample = time.Now().Add(every)
			s, err := w.sample()
			if err != nil {
				return err
			}
			samples = append(samples, s)
			fmt.Printf("%4.0f s: %d writes, %d goroutines, heap %.1f MB, %d files, disk %.1f MB\n",
				time.Since(begin).Seconds(), w.writes, s.goroutines, float64(s.heap)/1e6, s.files, float64(s.disk)/1e6)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(soakPause):
		}
	}
	return flat(samples)
}

// flat compares the last third of the samples with the second.
func flat(samples []sample) error {
	if len(samples) < 6 {
		return fmt.Errorf("only %d samples", len(samples))
	}
	third := len(samples) / 3
	mid, last := samples[third:2*third], samples[len(samples)-third:]
	grown := func(what string, of func(sample) float64, slack float64) error {
		m, l := least(mid, of), least(last, of)
		fmt.Printf("%s: %.0f, at the end %.0f\n", what, m, l)
		if l > m*1.1+slack {
			return fmt.Errorf("%s grew from %.0f to %.0f", what, m, l)
		}
		return nil
	}
	return errors.Join(
		grown("goroutines", func(s sample) float64 { return float64(s.goroutines) }, 5),
		grown("heap", func(s sample) float64 { return float64(s.heap) }, 4e6),
		grown("open files", func(s sample) float64 { return float64(s.files) }, 5),
	)
}

func least(samples []sample, of func(sample) float64) float64 {
	v := of(samples[0])
	for _, s := range samples {
		v = min(v, of(s))
	}
	return v
}

// A soak is a relay and two devices in this process.
type soak struct {
	ctx     context.Context //nolint:containedctx // bounds the run
	dir     string
	rnd     *rand.Rand
	relay   *node.Node
	a, b    *node.Node
	address string
	bucket  *buckets.Bucket
	writes  int
}

func (w *soak) open(name string, relay bool) (*node.Node, error) {
	return node.Open(w.ctx, node.Config{Home: filepath.Join(w.dir, name), Relay: relay})
}

func (w *soak) begin() (err error) {
	if w.relay, err = w.open("relay", true); err != nil {
		return err
	}
	key, secret, err := w.relay.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	if err != nil {
		return err
	}
	w.address = w.relay.Addrs()[0]
	for _, d := range []struct {
		name string
		n    **node.Node
	}{{"a", &w.a}, {"b", &w.b}} {
		if *d.n, err = w.open(d.name, false); err != nil {
			return err
		}
		if _, err := (*d.n).AddRelay(w.ctx, w.address, node.RelayOptions{Key: key.Text(), Secret: secret.Text()}); err != nil {
			return err
		}
	}
	if _, err := w.a.CreateDatabase(w.ctx, base); err != nil {
		return err
	}
	if w.bucket, _, err = w.a.CreateBucket(w.ctx, "files", base); err != nil {
		return err
	}
	invite, err := w.a.Invite(w.ctx, base, node.InviteOptions{})
	if err != nil {
		return err
	}
	_, err = w.b.Join(w.ctx, invite, "")
	return err
}

// round writes at both devices, queries, watches, pushes files, and now and then closes
// and opens a device.
func (w *soak) round() error {
	for i, n := range []*node.Node{w.a, w.b} {
		var updates bson.A
		for range soakRound {
			updates = append(updates, bson.D{
				{Key: "q", Value: bson.D{{Key: "_id", Value: w.rnd.IntN(soakDocs)}}},
				{Key: "u", Value: bson.D{{Key: "$set", Value: bson.D{{Key: "v", Value: w.rnd.Int64()}, {Key: "from", Value: i}}}}},
				{Key: "upsert", Value: true},
			})
		}
		if err := w.command(n, bson.D{{Key: "update", Value: coll}, {Key: "updates", Value: updates}}); err != nil {
			return err
		}
		w.writes += soakRound
		if err := w.command(n, bson.D{{Key: "aggregate", Value: coll}, {Key: "cursor", Value: bson.D{}}, {Key: "pipeline", Value: bson.A{
			bson.D{{Key: "$group", Value: bson.D{{Key: "_id", Value: "$from"}, {Key: "n", Value: bson.D{{Key: "$sum", Value: 1}}}}}},
		}}}); err != nil {
			return err
		}
		if err := w.watch(n); err != nil {
			return err
		}
	}
	content := make([]byte, w.rnd.IntN(50_000))
	for i := range content {
		content[i] = byte(w.rnd.Uint32())
	}
	files := fstest.MapFS{fmt.Sprintf("f%d", w.rnd.IntN(20)): {Data: content}}
	if _, err := w.bucket.Push(w.ctx, files, buckets.PushOptions{}); err != nil {
		return err
	}
	if w.rnd.IntN(10) == 0 {
		return w.reopen()
	}
	return nil
}

func (w *soak) command(n *node.Node, cmd bson.D) error {
	p, err := bson.Marshal(cmd)
	if err != nil {
		return err
	}
	reply, _, err := n.RunCommand(w.ctx, base, p)
	if err != nil {
		return err
	}
	if ok, _ := reply.Lookup("ok").AsFloat64OK(); ok != 1 || reply.Lookup("writeErrors").Type != 0 {
		return fmt.Errorf("%v: %v", cmd[0], reply)
	}
	return nil
}

// watch opens a stream of changes and leaves it, as a program that ends does.
func (w *soak) watch(n *node.Node) error {
	d, err := n.Database(w.ctx, base)
	if err != nil {
		return err
	}
	stream, err := d.Watch(w.ctx, db.WatchOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	_, _, err = stream.TryNext(w.ctx)
	return err
}

// reopen closes device b and opens it again.
func (w *soak) reopen() error {
	if err := w.b.Close(); err != nil {
		return err
	}
	b, err := w.open("b", false)
	if err != nil {
		return err
	}
	w.b = b
	return nil
}

// sample waits until both devices are one and says what the process holds.
func (w *soak) sample() (s sample, err error) {
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	for {
		a, err := w.a.DatabaseInfo(ctx, base)
		if err != nil {
			return s, err
		}
		b, err := w.b.DatabaseInfo(ctx, base)
		if err != nil {
			return s, err
		}
		if a.Hash == b.Hash {
			break
		}
		_, changed, err := w.b.DatabaseStatus(ctx, base)
		if err != nil {
			return s, err
		}
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond): // a fold that ends changes no status
		case <-ctx.Done():
			return s, errors.New("the devices do not become identical")
		}
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s.goroutines, s.heap = runtime.NumGoroutine(), m.HeapAlloc
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		// Tables of stores are as many as there is data, up to what the engine keeps open.
		for _, fd := range fds {
			if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && filepath.Ext(name) != ".sst" {
				s.files++
			}
		}
	}
	err = filepath.WalkDir(w.dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what is gone has no size
		}
		if fi, err := d.Info(); err == nil {
			s.disk += fi.Size()
		}
		return nil
	})
	return s, err
}

func (w *soak) close() {
	for _, n := range []*node.Node{w.b, w.a, w.relay} {
		if n != nil {
			_ = n.Close()
		}
	}
}
