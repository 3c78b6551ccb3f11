package sessions

import (
	"container/list"
	"context"
	"errors"
	"math"
	"net/netip"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// A Busy error is a refusal for now.
type Busy struct {
	Wait    time.Duration // until it is worth to come again
	message string
}

// Error says what there is too much of.
func (b *Busy) Error() string { return b.message }

// Kind returns limit_reached.
func (*Busy) Kind() fault.Kind { return fault.LimitReached }

// RetryAfter returns the whole seconds until it is worth to come again, at least 1.
func (b *Busy) RetryAfter() int { return max(1, int(math.Ceil(b.Wait.Seconds()))) }

func busy(wait time.Duration, message string) error { return &Busy{Wait: wait, message: message} }

// Wait returns how long a refusal asks to wait, and whether it is one of that kind.
func Wait(err error) (seconds int, ok bool) {
	b, ok := errors.AsType[*Busy](err)
	if !ok {
		return 0, false
	}
	return b.RetryAfter(), true
}

// maxRemembered is how many addresses, spaces and keys a limit tells apart.
const maxRemembered = 1 << 16

// A limit is a rate for each of many: perSecond on the average, burst at once.
type limit[K comparable] struct {
	perSecond, burst float64
	message          string
	of               map[K]*list.Element
	recent           *list.List // of *bucket[K], the longest unused first
}

type bucket[K comparable] struct {
	of   K
	left float64
	at   time.Time
}

func newLimit[K comparable](perSecond, burst float64, message string) limit[K] {
	return limit[K]{perSecond, burst, message, map[K]*list.Element{}, list.New()}
}

// take takes one, or says when there is one again.
func (l *limit[K]) take(of K, now time.Time) error {
	e, ok := l.of[of]
	if !ok {
		if len(l.of) >= maxRemembered {
			old := l.recent.Front()
			delete(l.of, l.recent.Remove(old).(*bucket[K]).of)
		}
		e = l.recent.PushBack(&bucket[K]{of, l.burst, now})
		l.of[of] = e
	}
	l.recent.MoveToBack(e)
	b := e.Value.(*bucket[K])
	if d := now.Sub(b.at); d > 0 {
		b.left, b.at = min(l.burst, b.left+d.Seconds()*l.perSecond), now
	}
	if b.left < 1 {
		return busy(time.Duration((1-b.left)/l.perSecond*float64(time.Second)), l.message)
	}
	b.left--
	return nil
}

type rates struct {
	address limit[netip.Prefix] // challenges, mints, refused tokens
	space   limit[Space]
	key     limit[keys.PublicKey]
	mint    limit[keys.PublicKey]
}

func newRates() rates {
	return rates{
		address: newLimit[netip.Prefix](20, 100, "Too many requests without a token come from this address: wait."),
		space:   newLimit[Space](2000, 4000, "There are too many requests of this user: wait."),
		key:     newLimit[keys.PublicKey](8000, 16000, "There are too many requests by this key: wait."),
		mint:    newLimit[keys.PublicKey](50, 200, "Too many tokens are asked for by this key: wait."),
	}
}

// Stranger counts a request of an address that no session is found for.
func (t *Table) Stranger(from netip.Addr) error {
	bits := 32
	if from = from.Unmap(); from.Is6() {
		bits = 64 // what one customer has
	}
	p, err := from.Prefix(bits)
	if err != nil {
		p = netip.Prefix{} // an address that is none: all such together
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rates.address.take(p, t.opt.Now())
}

// How many requests are under way at most.
const (
	maxRunningOfSpace = 64
	maxRunningOfKey   = 512
	maxRunningAll     = 4096
)

type running struct {
	of      map[keys.PublicKey]map[*held]struct{} // by the key
	ofSpace map[Space]int
	all     int
}

func newRunning() running {
	return running{of: map[keys.PublicKey]map[*held]struct{}{}, ofSpace: map[Space]int{}}
}

// A held request is one under way.
type held struct {
	s   *Session
	cut func(why error)
}

// Hold counts a request of a session as under way, until release. cut is called, at most once and
// not under a lock, when the session's key is revoked or the session is ended; why is the refusal.
func (t *Table) Hold(s *Session, cut func(why error)) (release func(), err error) {
	now, h := t.opt.Now(), &held{s, cut}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.rates.space.take(s.Space(), now); err != nil {
		return nil, err
	}
	if err := t.rates.key.take(s.Key, now); err != nil {
		return nil, err
	}
	r := &t.running
	switch {
	case r.ofSpace[s.Space()] >= maxRunningOfSpace:
		return nil, busy(time.Second, "Too many requests of this user are under way: wait for some.")
	case len(r.of[s.Key]) >= maxRunningOfKey:
		return nil, busy(time.Second, "Too many requests by this key are under way: wait for some.")
	case r.all >= maxRunningAll:
		return nil, busy(time.Second, "Too many requests are under way: wait.")
	}
	if r.of[s.Key] == nil {
		r.of[s.Key] = map[*held]struct{}{}
	}
	r.of[s.Key][h] = struct{}{}
	r.ofSpace[s.Space()]++
	r.all++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if delete(r.of[s.Key], h); len(r.of[s.Key]) == 0 {
			delete(r.of, s.Key)
		}
		if r.ofSpace[s.Space()]--; r.ofSpace[s.Space()] == 0 {
			delete(r.ofSpace, s.Space())
		}
		r.all--
	}, nil
}

// EndKey forgets all tokens of a key and cuts what runs by them: it was revoked. A request that
// was found before and is held after is for its caller, who asks the policy after Hold.
func (t *Table) EndKey(key keys.PublicKey, why error) {
	t.end(key, func(*Session) bool { return true }, why)
}

// End forgets one token and cuts what runs by it.
func (t *Table) End(s *Session) {
	t.end(s.Key, func(x *Session) bool { return x == s }, refuse(keys.CodeNoCredential, "The session was ended."))
}

func (t *Table) end(key keys.PublicKey, which func(*Session) bool, why error) {
	var cut []*held
	t.mu.Lock()
	if l := t.ofKey[key]; l != nil {
		for e := l.Front(); e != nil; {
			s := e.Value.(*Session)
			if e = e.Next(); which(s) {
				t.forget(s)
			}
		}
	}
	for h := range t.running.of[key] {
		if which(h.s) {
			cut = append(cut, h)
		}
	}
	t.mu.Unlock()
	for _, h := range cut {
		h.cut(why)
	}
}

// Limit returns the context of a request by a session: it ends with what the session stands for,
// and after most. cancel frees it.
func (s *Session) Limit(ctx context.Context, most time.Duration) (context.Context, context.CancelFunc) {
	at := time.Now().Add(most)
	why := error(fault.Errorf(fault.Timeout, "the call took longer than a hub gives it, %v", most))
	if e := s.Expires.Time(); s.Expires != 0 && e.Before(at) {
		at, why = e, refuse(keys.CodeCredentialExpired, "What the session stands for has ended: get another token.")
	}
	return context.WithDeadlineCause(ctx, at, why)
}
