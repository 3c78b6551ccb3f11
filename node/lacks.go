package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weftdb/weft/buckets"
	"github.com/weftdb/weft/net"
	"github.com/weftdb/weft/node/internal/check"
)

// Blobs that are damaged on disk cost nobody but who needs them: they are dropped, peers are
// asked for them, and until they are back, who asks for the state is told which are lacking,
// by the files that need them where the node can read those.

// What is listed at most of one database, and of the files of one blob.
const (
	maxLacks    = 100
	filesOfLack = 10
)

// lackedBlobs lists the blobs that a thread lacks.
func lackedBlobs(t *net.Thread) ([]Lack, error) {
	if t.LackingBlobs() == 0 {
		return nil, nil
	}
	all, err := t.LackedBlobs(0)
	out := make([]Lack, len(all))
	for i, l := range all {
		out[i] = Lack{ID: l.ID.String(), Bytes: l.Size, Since: l.Since, Files: []string{}}
	}
	return out, err
}

// lacksOf lists the blobs that a database lacks, with files that need them.
func (n *Node) lacksOf(ctx context.Context, d *database) ([]Lack, error) {
	lacks, err := lackedBlobs(d.thread)
	if err != nil || len(lacks) == 0 || d.rebuilding.Load() {
		return lacks, err
	}
	at := map[string]int{}
	for i, l := range lacks {
		at[l.ID] = i
	}
	fold, err := d.open(ctx)
	if err != nil {
		return lacks, err
	}
	names, err := buckets.List(ctx, fold.DB)
	if err != nil {
		return lacks, err
	}
	for _, name := range names {
		b, err := buckets.Open(ctx, fold.DB, blobs{d.thread}, name)
		if err != nil {
			return lacks, err
		}
		err = b.Needing(ctx, func(id buckets.BlobID) bool {
			_, lacks := at[net.BlobID(id).String()]
			return lacks
		}, func(path string, id buckets.BlobID) {
			l := &lacks[at[net.BlobID(id).String()]]
			if file := name + "/" + path; len(l.Files) < filesOfLack && !slices.Contains(l.Files, file) {
				l.Files = append(l.Files, file)
			}
		})
		if err != nil {
			return lacks, err
		}
	}
	return lacks, nil
}

// lostOf says what a database is served without, "" if nothing is known to be missing: what
// a repair of the last 30 days has lost, and blobs that are lacking.
func (n *Node) lostOf(d *database) string {
	var said []string
	if text := n.lossOf(d).Listed(); text != "" {
		said = append(said, text)
	}
	if text := n.lacksText(d.thread); text != "" {
		said = append(said, text)
	}
	return strings.Join(said, "; ")
}

// lacksText says which blobs a thread lacks, by the files that the last check has found to
// need them, "" if none are lacking.
func (n *Node) lacksText(t *net.Thread) string {
	count := t.LackingBlobs()
	if count == 0 {
		return ""
	}
	some, err := t.LackedBlobs(filesOfLack)
	if err != nil {
		return blocksHave(count) + " not come back"
	}
	var known []Lack
	if last := n.LastCheck(); last != nil {
		known = check.Of(last.Databases, t.ID().String()).Lacks
	}
	var names []string
	for _, l := range some {
		lack := Lack{ID: l.ID.String()}
		if i := slices.IndexFunc(known, func(k Lack) bool { return k.ID == lack.ID }); i >= 0 {
			lack = known[i]
		}
		if name := lack.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if int(count) > len(some) {
		names = append(names, "…")
	}
	return blocksHave(count) + " not come back: " + strings.Join(names, ", ")
}

func blocksHave(n int64) string {
	if n == 1 {
		return "1 damaged block of files has"
	}
	return fmt.Sprintf("%d damaged blocks of files have", n)
}

// kept returns the threads that this node keeps for others, by ID.
func (n *Node) kept() (out []*net.Thread) {
	for id := range n.host.Kept() {
		if t, err := n.host.Thread(id); err == nil { // else it was removed meanwhile
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *net.Thread) int { x, y := a.ID(), b.ID(); return bytes.Compare(x[:], y[:]) })
	return out
}

// doubtKept lists the threads that are kept for others: nothing here tells how much of
// each there was.
func (n *Node) doubtKept(out *Repair) {
	for _, t := range n.kept() {
		out.Threads = append(out.Threads, RebuiltThread{ID: t.ID().String(), Lacks: []Lack{}, Uncertain: true})
	}
}

// keptLacks says what threads that are kept for others lack.
func (n *Node) keptLacks() (out []Damage) {
	for _, t := range n.kept() {
		if text := n.lacksText(t); text != "" {
			out = append(out, Damage{ID: t.ID(), Reason: fmt.Sprintf("thread %s, which is kept for others: %s", t.ID(), text)})
		}
	}
	return out
}

// awaitBlobs waits until a thread lacks no blob any more, or every peer of it has said
// what it holds and given that.
func awaitBlobs(ctx context.Context, t *net.Thread) {
	for {
		changed := t.StatusChanged()
		peers := t.Status()
		given := len(peers) > 0 && !slices.ContainsFunc(peers, func(p net.PeerStatus) bool { return !p.Blobs })
		if given || t.LackingBlobs() == 0 {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
