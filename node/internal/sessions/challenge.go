package sessions

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/weftdb/weft/keys"
)

const (
	challengeLife = time.Minute
	maxUsed       = 1 << 16 // challenges that were used, of a minute
	maxProofs     = 1 << 20 // proofs that were seen, of two minutes
)

// Challenge returns what a mint is signed over, and the time here. Nothing is kept of it.
func (t *Table) Challenge() (c [keys.ChallengeSize]byte, now time.Time) {
	now = t.opt.Now()
	binary.BigEndian.PutUint64(c[:8], uint64(now.UnixMilli()))
	_, _ = rand.Read(c[8:24]) // never fails
	tag := t.tag(c)
	copy(c[24:], tag[:])
	return c, now
}

func (t *Table) tag(c [keys.ChallengeSize]byte) (tag [16]byte) {
	h := hmac.New(sha256.New, t.secret[:])
	h.Write([]byte("weft/1/challenge\x00"))
	h.Write(c[:24])
	copy(tag[:], h.Sum(nil))
	return tag
}

// checkChallenge refuses what this process did not give in the last minute.
func (t *Table) checkChallenge(c [keys.ChallengeSize]byte, now time.Time) error {
	tag := t.tag(c)
	age := now.UnixMilli() - int64(binary.BigEndian.Uint64(c[:8])) // a time that wraps around has no tag
	if !hmac.Equal(tag[:], c[24:]) || age < 0 || age >= challengeLife.Milliseconds() {
		return errChallenge
	}
	return nil
}

var errChallenge = refuse(keys.CodeCredentialExpired, "The challenge is over, was used, or is not of this hub: ask for another one.")

// spend takes a challenge once. The caller holds t.mu.
func (t *Table) spend(c [keys.ChallengeSize]byte, now time.Time) error {
	fresh, err := t.used.add([16]byte(c[24:]), now)
	if err == nil && !fresh {
		err = errChallenge
	}
	return err
}

// Generations is a set whose members are kept for a time at least, and twice of that at most.
type generations[K comparable] struct {
	now, before map[K]struct{}
	since       time.Time
	kept        time.Duration
	most        int // of one generation
}

func newGenerations[K comparable](kept time.Duration, most int) generations[K] {
	return generations[K]{now: map[K]struct{}{}, before: map[K]struct{}{}, kept: kept, most: most}
}

// add reports whether k was not in the set, which has it then.
func (g *generations[K]) add(k K, now time.Time) (fresh bool, err error) {
	switch age := now.Sub(g.since); {
	case age >= 2*g.kept:
		g.now, g.before, g.since = map[K]struct{}{}, map[K]struct{}{}, now
	case age >= g.kept:
		g.now, g.before, g.since = map[K]struct{}{}, g.now, now
	}
	if _, ok := g.now[k]; ok {
		return false, nil
	}
	if _, ok := g.before[k]; ok {
		return false, nil
	}
	if len(g.now) >= g.most {
		return false, busy(g.kept-now.Sub(g.since), "This hub has seen as much in a short time as it remembers.")
	}
	g.now[k] = struct{}{}
	return true, nil
}
