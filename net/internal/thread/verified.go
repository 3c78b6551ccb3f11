package thread

import (
	"context"

	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/verify"
)

// A Rejection says which record was refused and why. Records before it in the
// same run are kept.
type Rejection = verify.Rejection

// A verifiedRun is a run that has passed every check that needs no state.
type verifiedRun struct {
	*verify.Run
	stranger bool // by a peer that is no member and no relay in use
}

// verify checks what can be checked of a run without state.
func (t *Thread) verify(ctx context.Context, r format.Run) (*verifiedRun, *Rejection) {
	t.mu.Lock()
	k := t.keys
	t.mu.Unlock()
	run, rej := t.opener(&k).Run(ctx, r)
	if run == nil {
		return nil, rej
	}
	return &verifiedRun{Run: run}, rej
}

// opener returns what records are opened with by who has the keys k.
func (t *Thread) opener(k *format.Keys) *verify.Opener {
	return &verify.Opener{Thread: t.id, Keys: k, Sealer: t.env.sealer, FirstEpoch: t.firstEpoch()}
}
