package model
import ("testing";"fmt";"os")
func TestDbg2(t *testing.T){
 if os.Getenv("DBG")=="" {t.Skip()}
 var seed uint64; fmt.Sscan(os.Getenv("DBG"),&seed)
 h:=newHistory(seed); s:=Judge(h.genesis,h.all)
 x:=s.recs[Hash(os.Getenv("X"))]; fmt.Println(s.Verdicts[x.Hash],s.place(x))
 show:=func(w *world){for _,e:=range w.entries { if e.first.Log==x.Of { fmt.Println(e.role,e.path,e.grant.Hash,e.grant.Kind,w.covers(e,x)) ; for _,c:=range w.cuts { if w.applies(c,e) {fmt.Println("   cut",c.rec.Hash,c.rec.Kind,c.subject,w.has(c.rec,x))}} } }}
 show(s.full)
 for _,z:=range s.horizons {fmt.Println("H",z.rec.Hash,z.rec.T,z.by.first.Log,z.by.role,s.has(z.rec,x))}
 for n,w:=range s.worlds {fmt.Println("world",n,len(w.kept)); for _,r:=range s.full.kept { found:=false; for _,q:=range w.kept {found=found||q==r}; if !found {fmt.Println("  without",r.Hash,r.Kind,r.Log)}}; show(w)}
}
