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
	"syscall"
	"time"
)

func main() {
	weft := flag.String("weft", "bin/weft", "the weft binary")
	histories := flag.Int("histories", 20, "histories to run")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the first history; the next ones count up")
	limit := flag.Duration("limit", 2*time.Minute, "longest time of one history")
	budget := flag.Duration("budget", 0, "stop after this time, however many histories are done; 0: never")
	skip := flag.String("skip", "", "what shall not happen, by commas, such as \"flip a bit,freeze\"")
	soak := flag.Duration("soak", 0, "run one world for this time instead")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	steps = slices.DeleteFunc(steps, func(s step) bool { return slices.Contains(strings.Split(*skip, ","), s.name) })
	var err error
	if *soak > 0 {
		err = runSoak(ctx, *soak, *seed)
	} else {
		err = runHistories(ctx, *weft, *histories, *seed, *limit, *budget)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stress:", err)
		os.Exit(1)
	}
}

func runHistories(ctx context.Context, weft string, n int, seed uint64, limit, budget time.Duration) error {
	bin, err := filepath.Abs(weft)
	if err != nil {
		return err
	}
	begin, done, failed, counts := time.Now(), 0, 0, map[string]int{}
	for i := range n {
		if ctx.Err() != nil || budget > 0 && time.Since(begin) > budget {
			break
		}
		if err := runHistory(ctx, bin, seed+uint64(i), limit, counts); err != nil {
			if ctx.Err() != nil {
				break
			}
			failed++
			fmt.Printf("history with -seed %d failed: %v\n", seed+uint64(i), err)
		}
		done++
		if done%10 == 0 {
			fmt.Printf("%d histories, %d failed, %.0f s\n", done, failed, time.Since(begin).Seconds())
		}
	}
	fmt.Printf("%d of %d histories, %d failed; %s\n", done, n, failed, listOf(counts))
	switch {
	case failed > 0:
		return fmt.Errorf("%d of %d histories failed", failed, done)
	case done < n && budget == 0:
		return fmt.Errorf("ended after %d of %d histories: %w", done, n, context.Cause(ctx))
	}
	return nil
}

// listOf names what was done how often.
func listOf(counts map[string]int) string {
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// runHistory runs one history in a folder of its own, which stays if it failed.
func runHistory(ctx context.Context, bin string, seed uint64, limit time.Duration, counts map[string]int) (err error) {
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
