package control

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/model"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

// A thread that a hub's device opened, which then forks its log and lets a device of the owner
// in on each branch. These remove the hub, and each other; the hub goes on letting devices in.
// In every order it is what the model says, and the device that was let in first stays.
func TestDelegatedDeviceInEveryOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 5)
		owner := keys.NewIdentity()
		for i, d := range w.devices {
			cert, err := owner.Certify(d.Public(), keys.CertifyOptions{Issued: clock.Time(1 << 40).Wall()})
			if err != nil {
				t.Fatal(err)
			}
			w.certs[i], _ = cert.Encode()
		}
		d, err := owner.Delegate(w.devices[0].Public(), keys.DelegateOptions{Rights: keys.RightCreate | keys.RightAdmit, Issued: clock.Time(1 << 40).Wall()})
		if err != nil {
			t.Fatal(err)
		}
		w.genesis.Owner, w.genesis.Certificate, w.genesis.Delegation = owner.Public(), nil, d
		all := func() *Graph { return w.deliver(indexes(len(w.records))) }
		last := func() clock.Hash { return w.records[len(w.records)-1].ID.Hash }
		lets := func(i int, seen *Graph) {
			w.add(0, seen, &format.Control{Op: format.OpDevice, Certificate: w.certs[i], Subject: w.certified(i).Sign})
		}
		starts := func(i int, by clock.Hash) {
			w.add(i, all(), &format.Control{Op: format.OpStart, Added: by, Data: w.data(i)})
		}
		w.add(0, all(), &format.Control{Op: format.OpOpen})
		opened := slices.Clone(w.logs[0])
		lets(1, all())
		one, first := last(), w.deliver(indexes(len(w.records)))
		branch := slices.Clone(w.logs[0])
		w.logs[0] = opened
		lets(2, w.deliver([]int{0})) // on another branch, and has not seen the first
		two := last()
		has := func(i int) *Graph { // what a device has that heard of nobody since it began
			need := map[clock.Hash]bool{w.logs[i][len(w.logs[i])-1].ID.Hash: true}
			var order []int
			for at, c := range slices.Backward(w.records) {
				if need[c.ID.Hash] {
					order = append([]int{at}, order...)
					for _, p := range c.Parents {
						need[p] = true
					}
				}
			}
			return w.deliver(order)
		}
		remove := func(i int, who keys.PublicKey, seen *Graph) {
			w.add(i, seen, &format.Control{Op: format.OpRemove, Subject: who, View: w.view(who), Epoch: &format.Epoch{}})
		}
		hub := w.devices[0].Public().Sign
		for range 4 {
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				if len(w.logs[1]) == 0 {
					w.add(1, first, &format.Control{Op: format.OpStart, Added: one, Data: w.data(1)})
				}
				remove(1, hub, has(1))
			case 1:
				if len(w.logs[2]) == 0 {
					w.add(2, w.deliver([]int{0, 2}), &format.Control{Op: format.OpStart, Added: two, Data: w.data(2)})
				}
				remove(2, hub, has(2))
			case 2:
				if len(w.logs[2]) > 0 {
					remove(2, w.certified(1).Sign, all())
				}
			case 3:
				w.logs[0] = branch
				lets(3, first)
				starts(3, last())
			case 4:
				if len(w.logs[1]) == 0 {
					starts(1, one)
				}
				remove(1, hub, all())
			case 5:
				w.add(0, all(), &format.Control{Op: format.OpTransfer})
			}
		}
		records := map[clock.Hash]*model.Record{}
		var of []*model.Record
		for _, c := range w.records {
			r := w.asModel(c)
			for _, q := range w.records { // the previous of its branch, which it names
				if q.ID.Log == c.ID.Log && q.ID.Seq == c.ID.Seq-1 && slices.Contains(c.Parents, q.ID.Hash) {
					r[0].Prev = model.Hash(q.ID.Hash[:])
				}
			}
			records[c.ID.Hash] = r[0]
			of = append(of, r...)
		}
		m := model.Judge(w.modelGenesis(), of)
		w.eager = true
		for range 10 {
			g := w.deliver(rapid.Permutation(indexes(len(w.records))).Draw(t, "order"))
			for h := range records {
				if c := g.index[h]; c != nil && (g.State().verdict(c) == ok) != (m.Verdicts[model.Hash(h[:])] == model.OK) {
					t.Fatalf("%s of log %s, %d: got %v, and the model says %s", c.Payload.Op, c.ID.Log.Short(), c.ID.Seq, g.State().verdict(c), m.Verdicts[model.Hash(h[:])])
				}
			}
			g.State().rule()
			if describe(g) != describe(anew(g)) {
				t.Fatalf("applied on top\n%sfolded anew\n%s", describe(g), describe(anew(g)))
			}
		}
	})
}
