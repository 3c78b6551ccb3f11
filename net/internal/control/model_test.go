package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/model"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/net/internal/format"
)

var modelKinds = map[format.Op]model.Kind{
	format.OpOpen: model.Open, format.OpInvite: model.Invite, format.OpJoin: model.Join, format.OpClose: model.Close,
	format.OpAdmit: model.Admit, format.OpRole: model.SetRole, format.OpRemove: model.Remove, format.OpTransfer: model.Transfer,
	format.OpDevice: model.Device, format.OpStart: model.Start, format.OpRecover: model.Recover, format.OpRevoke: model.Revoke,
	format.OpRotate: model.Rotate, format.OpLog: model.Announce,
}

func (w *controlWorld) modelGenesis() model.Genesis {
	device := w.genesis.Device()
	g := model.Genesis{Identity: string(w.genesis.Owner[:]), Device: string(device[:]), Commit: string(w.genesis.Recovery[:])}
	if d := w.genesis.Delegation; d != nil {
		g.Delegated, g.Lone = true, !d.Rights.Has(keys.RightAdmit)
	}
	return g
}

func hashesOf(hs []clock.Hash) (out []model.Hash) {
	for _, h := range hs {
		out = append(out, model.Hash(h[:]))
	}
	return out
}

// asModel says a control record as the model has it, and the records of the data log that
// it announces.
func (w *controlWorld) asModel(c *Record) (all []*model.Record) {
	subject := func(k keys.PublicKey) string {
		if k == (keys.PublicKey{}) {
			return ""
		}
		return string(k[:])
	}
	p := c.Payload
	r := &model.Record{
		Head: model.Head{Log: string(c.ID.Log[:]), Seq: int(c.ID.Seq), Hash: model.Hash(c.ID.Hash[:])},
		Kind: modelKinds[p.Op], Role: model.Role(p.Role), Clock: int(c.Time), Control: hashesOf(c.Parents), Joins: hashesOf(p.Joins),
		Subject: subject(p.Subject),
	}
	if p.Delegated {
		d, err := keys.DecodeDelegation(p.Certificate)
		if err != nil {
			w.t.Fatal(err)
		}
		r.Delegated, r.Lone = true, !d.Rights.Has(keys.RightAdmit)
	}
	for _, q := range w.records {
		if q.ID.Log == c.ID.Log && q.ID.Seq == c.ID.Seq-1 {
			r.Prev = model.Hash(q.ID.Hash[:])
		}
	}
	if p.Op == format.OpJoin || p.Op == format.OpClose {
		r.Grant = model.Hash(p.Invite[:])
	}
	switch p.Op {
	case format.OpStart:
		r.Grant = model.Hash(p.Added[:])
	case format.OpRecover:
		r.Key, r.Commit = subject(p.Key), subject(p.Next)
	}
	if p.Op == format.OpRevoke {
		r.Identity = subject(c.Device)
	} else if c.ID.Seq == 1 {
		i := slices.IndexFunc(w.devices, func(d *keys.Device) bool { return d.Public().Sign == c.Device })
		r.Identity, r.Device = subject(w.certified(i).Identity), subject(c.Device)
	}
	for _, h := range p.View {
		r.Data = append(r.Data, model.Head{Log: string(h.Log[:]), Seq: int(h.Seq), Hash: model.Hash(h.Hash[:])})
	}
	all = append(all, r)
	if p.Data == nil {
		return all
	}
	log := format.LogIDOf(w.thread, p.Data)
	for seq := 1; seq <= dataRecords; seq++ {
		id := w.dataRecord(log, seq)
		x := &model.Record{
			Head: model.Head{Log: string(log[:]), Seq: seq, Hash: model.Hash(id.Hash[:])}, Of: r.Log, Kind: model.Op,
			Clock: int(c.Time) + seq, Control: []model.Hash{r.Hash}, Name: "c", Doc: string(id.Hash[:]),
		}
		if seq > 1 {
			before := w.dataRecord(log, seq-1)
			x.Prev = model.Hash(before.Hash[:])
		}
		all = append(all, x)
	}
	return all
}

// counts says whether a data record counts, by the rights to its log.
func counts(g *Graph, rights []Right, x clock.RecordID, heads []clock.Hash) bool {
	has := func(heads []clock.RecordID) bool {
		return slices.ContainsFunc(heads, func(h clock.RecordID) bool { return h.Seq >= x.Seq })
	}
	return slices.ContainsFunc(rights, func(r Right) bool {
		return r.Of(heads) && !has(r.Without) && !slices.ContainsFunc(r.Within, func(c []clock.RecordID) bool { return !has(c) })
	})
}

// settled reports whether x may define something although a recovery key was used twice.
func settled(r Right, x clock.RecordID) bool {
	s := r.DefinesSpan(func(heads []clock.RecordID) (seq uint64) {
		for _, h := range heads {
			seq = max(seq, h.Seq)
		}
		return seq
	})
	return !r.Stopped() || x.Seq <= s.Last
}

// The fold gives what the model gives: which control records have effect, who may do what,
// which data counts, and under which epochs is written.
func TestFoldIsTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 5)
		w.delegate()
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			w.step()
		}
		g := w.deliver(rapid.Permutation(indexes(len(w.records))).Draw(t, "order"))
		var all []*model.Record
		held := map[clock.Hash]*Record{}
		for _, c := range w.records {
			if g.Has(c.ID.Hash) {
				all = append(all, w.asModel(c)...)
				held[c.ID.Hash] = g.index[c.ID.Hash]
			}
		}
		m := model.Judge(w.modelGenesis(), all)
		s := g.State()
		for h, c := range held {
			if got, want := s.verdict(c) == ok, m.Verdicts[model.Hash(h[:])] == model.OK; got != want {
				t.Fatalf("%s of log %s, %d: got %v, and the model says %s", c.Payload.Op, c.ID.Log.Short(), c.ID.Seq, s.verdict(c), m.Verdicts[model.Hash(h[:])])
			}
		}
		roles := map[string]model.Role{}
		for _, member := range s.Members {
			if member.Added {
				continue // it has not begun, and is nobody to the model
			}
			id := string(member.Identity[:])
			if roles[id] == 0 || model.Role(member.Role) < roles[id] {
				roles[id] = model.Role(member.Role)
			}
		}
		for id, role := range m.Roles {
			if roles[id] != role {
				t.Fatalf("identity %x is %d, and %d in the model", id[:4], roles[id], role)
			}
		}
		if len(roles) != len(m.Roles) {
			t.Fatalf("%d identities are members, and %d in the model", len(roles), len(m.Roles))
		}
		for h, c := range held {
			if c.Payload.Data == nil {
				continue
			}
			log := format.LogIDOf(w.thread, c.Payload.Data)
			rights := g.Rights(log)
			for seq := 1; seq <= dataRecords; seq++ {
				x := w.dataRecord(log, seq)
				got := counts(g, rights, x, []clock.Hash{h}) && g.Begun(log, []clock.Hash{h}) == ""
				if want := m.Verdicts[model.Hash(x.Hash[:])] == model.OK; got != want {
					t.Fatalf("record %d of log %s: got %v, and the model says %s; rights %+v", seq, log.Short(), got, m.Verdicts[model.Hash(x.Hash[:])], rights)
				}
			}
		}
		// The same records, had they defined something.
		var defining []*model.Record
		for _, r := range all {
			d := *r
			if d.Kind == model.Op {
				d.Kind, d.Name, d.Def = model.Define, string(d.Hash), model.Def{In: true}
			}
			defining = append(defining, &d)
		}
		defined := model.Judge(w.modelGenesis(), defining)
		for h, c := range held {
			if c.Payload.Data == nil {
				continue
			}
			log := format.LogIDOf(w.thread, c.Payload.Data)
			for seq := 1; seq <= dataRecords; seq++ {
				x := w.dataRecord(log, seq)
				var role format.Role
				for _, r := range g.Rights(log) {
					if role == 0 && r.Holds([]clock.Hash{h}) && settled(r, x) && counts(g, []Right{r}, x, []clock.Hash{h}) && g.Begun(log, []clock.Hash{h}) == "" {
						role = r.Role
					}
				}
				got := role == format.RoleOwner || role == format.RoleAdmin
				if want := defined.Verdicts[model.Hash(x.Hash[:])] == model.OK; got != want {
					t.Fatalf("definition %d of log %s: by role %d, and the model says %s", seq, log.Short(), role, defined.Verdicts[model.Hash(x.Hash[:])])
				}
			}
		}
		last := &model.Record{Head: model.Head{Log: "reader", Seq: 1, Hash: "reader"}, Of: "nobody", Kind: model.Op, Clock: 1 << 40}
		for h := range g.heads {
			last.Control = append(last.Control, model.Hash(h[:]))
		}
		m = model.Judge(w.modelGenesis(), append(all, last))
		var want []string
		for _, e := range m.Epochs(last) {
			if e == nil {
				want = append(want, string(w.thread[:]))
			} else {
				want = append(want, string(e.Hash))
			}
		}
		var got []string
		for _, e := range s.Epochs() {
			got = append(got, string(e[:]))
		}
		slices.Sort(want)
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatalf("%d epochs, and %d in the model", len(got), len(want))
		}
	})
}

// While the authority is the same, so are the roles of every record of the logs that were
// there: whoever judged definitions by it need not judge them again.
func TestAuthorityTellsOfRoles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newControlWorld(t, 4)
		w.delegate()
		for range rapid.IntRange(5, 30).Draw(t, "steps") {
			w.step()
		}
		order := rapid.Permutation(indexes(len(w.records))).Draw(t, "order")
		seen := map[clock.Hash]map[clock.LogID]string{}
		for n := range order {
			g := w.deliver(order[:n+1])
			was := seen[g.State().Authority()]
			now := map[clock.LogID]string{}
			g.Announced(func(log, _ clock.LogID) {
				text, defines := "", false
				for _, r := range g.Rights(log) {
					text += fmt.Sprintf(" %v %v %v %v", r.Role, r.first.ID, r.Within, r.Without)
					if r.grant != nil {
						text += " by " + r.grant.ID.String()
					}
					defines = defines || r.Role <= format.RoleAdmin
				}
				if !defines {
					text = "" // whoever of them counts, none may define
				}
				now[log] = text
				if had, ok := was[log]; ok && had != text {
					t.Fatalf("log %s: got%s, where there was%s", log.Short(), text, had)
				}
			})
			seen[g.State().Authority()] = now
		}
	})
}
