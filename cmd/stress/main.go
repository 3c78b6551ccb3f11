//go:build unix

// Command stress runs random histories of several real daemons and looks for what
// a user must never see: replicas that differ, an acknowledged write that is gone,
// a call that hangs, a daemon that does not end. A history mixes writes on both
// sides of partitions, kills, frozen processes, full disks, flipped bits, backups,
// files, refused imports, strangers and late joiners.
//
//	main.go      flags, and one history after the other
//	history.go   what happens in a history
//	model.go     what must be there at its end
//	device.go    one home and its daemon
//	soak.go      one world for a long time: memory and goroutines must stay flat
//
// A history is a function of its seed but for the timing of processes: the seed of
// a failure is printed, and its homes are kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// options say what histories to run.
type options struct {
	weft          string
	histories     int
	parallel      int
	seed          uint64
	limit, budget time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.weft, "weft", "bin/weft", "the weft binary")
	flag.IntVar(&o.histories, "histories", 20, "histories to run")
	flag.IntVar(&o.parallel, "parallel", 2, "histories at a time")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of the first history; the next ones count up")
	flag.DurationVar(&o.limit, "limit", 3*time.Minute, "longest time of one history")
	flag.DurationVar(&o.budget, "budget", 0, "stop after this time, however many histories are done; 0: never")
	skip := flag.String("skip", "", "what shall not happen, by commas, such as \"flip a bit,freeze\"")
	soak := flag.Duration("soak", 0, "run one world for this time instead")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	steps = slices.DeleteFunc(steps, func(s step) bool { return slices.Contains(strings.Split(*skip, ","), s.name) })
	var err error
	if *soak > 0 {
		err = runSoak(ctx, *soak, o.seed)
	} else {
		err = runHistories(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stress:", err)
		os.Exit(1)
	}
}

func runHistories(ctx context.Context, o options) error {
	bin, err := filepath.Abs(o.weft)
	if err != nil {
		return err
	}
	var (
		begin        = time.Now()
		counts       = &tally{n: map[string]int{}}
		next         atomic.Uint64
		done, failed atomic.Int64
		wg           sync.WaitGroup
	)
	work := func() {
		for ctx.Err() == nil && (o.budget == 0 || time.Since(begin) < o.budget) {
			i := next.Add(1) - 1
			if i >= uint64(o.histories) {
				return
			}
			if err := runHistory(ctx, bin, o.seed+i, o.limit, counts); err != nil {
				if ctx.Err() != nil {
					return
				}
				failed.Add(1)
				fmt.Printf("history with -seed %d failed: %v\n", o.seed+i, err)
			}
			if n := done.Add(1); n%10 == 0 {
				fmt.Printf("%d histories, %d failed, %.0f s\n", n, failed.Load(), time.Since(begin).Seconds())
			}
		}
	}
	for range o.parallel {
		wg.Go(work)
	}
	wg.Wait()
	fmt.Printf("%d of %d histories, %d failed; %s\n", done.Load(), o.histories, failed.Load(), counts)
	switch {
	case failed.Load() > 0:
		return fmt.Errorf("%d of %d histories failed", failed.Load(), done.Load())
	case done.Load() < int64(o.histories) && o.budget == 0:
		return fmt.Errorf("ended after %d of %d histories: %w", done.Load(), o.histories, context.Cause(ctx))
	}
	return nil
}

// A tally counts what was done.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (t *tally) add(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n[what]++
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var parts []string
	for name, n := range t.n {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// runHistory runs one history in a folder of its own, which stays if it failed.
func runHistory(ctx context.Context, bin string, seed uint64, limit time.Duration, counts *tally) (err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	dir, err := os.MkdirTemp("", fmt.Sprintf("weft-stress-%d-", seed))
	if err != nil {
		return err
	}
	h := &history{ctx: ctx, bin: bin, dir: dir, rnd: rand.New(rand.NewPCG(seed, 1)), counts: counts, model: newModel()}
	err = h.run()
	h.killAll()
	if err != nil {
		return fmt.Errorf("%w\n  what happened: %s\n  homes: %s", err, strings.Join(h.log, "; "), dir)
	}
	h.unmount()
	return os.RemoveAll(dir)
}
