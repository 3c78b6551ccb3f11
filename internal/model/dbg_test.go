package model
import ("testing";"fmt";"os")
func TestDbg(t *testing.T){
 if os.Getenv("DBG")=="" {t.Skip()}
 var seed uint64; fmt.Sscan(os.Getenv("DBG"),&seed)
 h:=newHistory(seed); s:=Judge(h.genesis,h.all)
 fmt.Println("late",h.genesis.Late,"closed",h.genesis.Closed,"hostile",h.hostile)
 for _,r:=range h.all { fmt.Printf("%s %s prev=%s seq=%d log=%s clock=%d id=%s subj=%s role=%d grant=%s joins=%v key=%s/%s dev=%v inv=%v T=%d name=%s ctl=%v data=%v honest=%v => %s %v\n",r.Hash,r.Kind,r.Prev,r.Seq,r.Log,r.Clock,r.Identity,r.Subject,r.Role,r.Grant,r.Joins,r.Key,r.Commit,r.Devices,r.Invites,r.T,r.Name,r.Control,r.Data,h.honest[r.Hash],s.Verdicts[r.Hash],s.Places[r.Hash].First)}
 fmt.Println(s.Roles)
}
