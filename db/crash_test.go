package db_test

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/dbtest"
	"github.com/weftdb/weft/db/internal/fold"
	"github.com/weftdb/weft/db/replica"
	"github.com/weftdb/weft/internal/store"
	"github.com/weftdb/weft/internal/store/engines"
)

// A tight store takes few writes a transaction, and fails commits once its
// budget of them is used up, as if the process had ended there.
type tight struct {
	store.Store
	puts int

	mu      sync.Mutex // guards commits
	commits int        // left; negative means any number
}

var errEnd = errors.New("the process ends here")

type tightTx struct {
	store.Tx
	s *tight
}

func (s *tight) Limits() store.Limits { return store.Limits{Bytes: 1 << 20, Puts: s.puts} }
func (s *tight) Begin() store.Tx      { return &tightTx{s.Store.Begin(), s} }

func (t *tightTx) full(n int) bool {
	u, l := t.Used(), t.s.Limits()
	return u.Puts >= l.Puts || u.Bytes+n > l.Bytes
}

func (t *tightTx) Put(k, v []byte) error {
	if t.full(len(k) + len(v)) {
		return store.ErrTooBig
	}
	return t.Tx.Put(k, v)
}

func (t *tightTx) Delete(k []byte) error {
	if t.full(len(k)) {
		return store.ErrTooBig
	}
	return t.Tx.Delete(k)
}

func (t *tightTx) Commit() error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.commits == 0 {
		t.Tx.Discard()
		return errEnd
	}
	t.s.commits--
	return t.Tx.Commit()
}

// Records too big for one transaction apply in steps; wherever the process
// ends between them, the next Open gives the state of the reference fold.
func TestStepsSurviveTheEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		es := genEntries(rt, t, 12)
		order := rapid.Permutation(es).Draw(rt, "order")
		if rapid.Bool().Draw(rt, "partition") {
			sides := partition(rt, t, 10)
			es = slices.Concat(sides[:]...)
			order = es
		}
		void := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) fold.Cut { return genVoid(t, es) }), 0, 4).Draw(rt, "void")
		st := openMemory(rt)
		s := &tight{Store: st, puts: 14, commits: -1}
		j, err := dbtest.NewJournal(st, "J/", "local")
		if err != nil {
			rt.Fatal(err)
		}
		if err := j.Deliver(order...); err != nil {
			rt.Fatal(err)
		}
		for round := 0; ; round++ {
			s.commits = -1
			if round < 20 {
				s.commits = rapid.IntRange(1, 25).Draw(rt, "commits")
			}
			x, err := replica.Open(t.Context(), replica.Options{Store: s, Prefix: []byte("D/"), Journal: j})
			if err == nil {
				if err = x.Settle(t.Context()); err == nil {
					err = db.Built(x.DB)
				}
				for i := 0; err == nil && i < len(void); i++ {
					if err = x.SetCut(t.Context(), void[i]); err == nil {
						err = db.Built(x.DB)
					}
					if err == nil {
						same(rt, x, es, void[i])
					}
				}
				if err == nil && len(void) == 0 {
					same(rt, x, es, fold.Cut{})
				}
				if err := x.Close(); err != nil {
					rt.Fatal(err)
				}
			}
			if err == nil {
				break
			}
			if !errors.Is(err, errEnd) {
				rt.Fatal(err)
			}
		}
		if err := st.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

const childEnv = "WEFT_DB_TEST_CHILD"

// childMain writes until it is killed, if this process is the test's child.
func childMain() {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	if err := writeForever(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

func writeForever(dir string) error {
	st, err := engines.Open(dir, nil)
	if err != nil {
		return err
	}
	j, err := dbtest.NewJournal(st, "J/", "local")
	if err != nil {
		return err
	}
	ctx := contextBackground()
	x, err := replica.Open(ctx, replica.Options{Store: st, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		return err
	}
	c := x.Collection("c")
	if _, err := c.CreateIndex(ctx, db.Index{Keys: []db.IndexKey{{Path: "n"}}}); err != nil {
		return err
	}
	var out sync.Mutex
	errs := make(chan error)
	go func() {
		for i := 0; ; i++ {
			x := buildKinds()[i%6]
			err := c.DropIndex(ctx, nameOf(x))
			if err == nil || errors.Is(err, db.ErrNotFound) {
				_, err = c.CreateIndexWith(ctx, x, db.CreateIndexOptions{Background: i%2 == 0})
			}
			var dup *db.DuplicateKeyError
			if err != nil && !errors.As(err, &dup) && !errors.Is(err, db.ErrExists) {
				errs <- err
				return
			}
		}
	}()
	for range 4 {
		go func() {
			for {
				n := rand.Int64()
				b, err := marshal(d("_id", n, "n", n%100))
				if err == nil {
					_, err = c.Insert(ctx, b)
				}
				if err == nil && n%5 == 0 {
					b, _ = marshal(d("$inc", d("sum", 1)))
					f, _ := marshal(d("_id", "counter"))
					_, err = c.Update(ctx, f, b, db.UpdateOptions{Upsert: true})
				}
				if err != nil {
					errs <- err
					return
				}
				out.Lock()
				fmt.Println(n)
				out.Unlock()
			}
		}()
	}
	return <-errs
}

// What was acknowledged is there after the process is killed, and the stored
// hash is that of the documents.
func TestKill(t *testing.T) { kill(t, 10) }

// kill kills the child as often as rounds says.
func kill(t *testing.T, rounds int) {
	dir := t.TempDir()
	acked := map[int64]bool{}
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		cmd.Stderr = os.Stderr
		pipe, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(pipe)
		for left := 20 + rand.IntN(200); lines.Scan(); left-- {
			if n, err := strconv.ParseInt(strings.TrimSpace(lines.Text()), 10, 64); err == nil {
				acked[n] = true
			}
			if left == 0 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		checkAcked(t, dir, acked, round)
	}
}

func checkAcked(t *testing.T, dir string, acked map[int64]bool, round int) {
	st, err := engines.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	j, err := dbtest.NewJournal(st, "J/", "local")
	if err != nil {
		t.Fatal(err)
	}
	x, err := replica.Open(t.Context(), replica.Options{Store: st, Prefix: []byte("D/"), Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	for n := range acked {
		if _, err := x.Collection("c").Get(t.Context(), id(n)); err != nil {
			t.Fatalf("round %d: acknowledged document %d of %d: %v", round, n, len(acked), err)
		}
	}
	if _, err := db.Dump(x.DB); err != nil {
		t.Fatal(err)
	}
	if round%10 != 0 {
		return
	}
	es, err := j.Entries()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := db.Reference(slices.Clone(es))
	if _, h := x.StateHash(); h != want {
		t.Fatalf("round %d: got hash %v, want %v", round, h, want)
	}
}
