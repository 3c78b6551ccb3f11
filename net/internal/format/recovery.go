package format

import (
	"fmt"
	"log/slog"

	"github.com/multiformats/go-multiaddr"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

const recoveryScheme = "weft-recovery:"

// A Recovery makes whoever holds it the owner of a thread, once. It prints as
// "[recovery key]"; only [Recovery.Text] shows it.
type Recovery struct {
	Thread ThreadID
	Addrs  []multiaddr.Multiaddr // where a relay or a member was found when it was made
	secret Invite                // its key pair and the service key, as an invite has them
}

// NewRecovery returns the recovery of a thread with a key pair.
func NewRecovery(thread ThreadID, service SecretKey, key *keys.Identity, addrs []multiaddr.Multiaddr) (Recovery, error) {
	i, err := NewInvite(thread, service, addrs)
	i.seed = key.Secret()
	return Recovery{Thread: thread, Addrs: addrs, secret: i}, err
}

// Identity returns the key pair.
func (r Recovery) Identity() (*keys.Identity, error) { return InviteIdentity(r.secret) }

// Key returns the public key, which the thread commits to.
func (r Recovery) Key() keys.PublicKey { return r.secret.Key() }

// Service returns the service key of the thread.
func (r Recovery) Service() SecretKey { return InviteService(r.secret) }

// At returns the recovery with other addresses.
func (r Recovery) At(addrs []multiaddr.Multiaddr) Recovery {
	r.Addrs, r.secret.Addrs = addrs, addrs
	return r
}

// Prove returns the public key, and the proof that device holds its secret, as
// [ProveInvite] does.
func (r Recovery) Prove(device keys.PublicKey) (key, proof []byte, err error) {
	return ProveInvite(r.secret, device)
}

// Text returns the secret text form, "weft-recovery:…", which [ParseRecovery] parses.
func (r Recovery) Text() string { return r.secret.text(recoveryScheme, domainRecovery) }

// ParseRecovery parses what [Recovery.Text] returns, and nothing else. Errors repeat none
// of the text.
func ParseRecovery(text string) (Recovery, error) {
	b, err := textBytes(text, recoveryScheme, domainRecovery, "recovery key")
	if err != nil {
		return Recovery{}, err
	}
	i, err := DecodeInvite(b)
	return Recovery{Thread: i.Thread, Addrs: i.Addrs, secret: i}, err
}

// Format prints "[recovery key]" for every verb.
func (Recovery) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[recovery key]")) }

// String returns "[recovery key]".
func (Recovery) String() string { return "[recovery key]" }

// LogValue returns "[recovery key]".
func (Recovery) LogValue() slog.Value { return slog.StringValue("[recovery key]") }

// MarshalText returns "[recovery key]"; JSON uses it too.
func (Recovery) MarshalText() ([]byte, error) { return []byte("[recovery key]"), nil }

const sealGenesis = "genesis/recovery"

// sealFirst seals the read key of the first epoch to a recovery key, for the genesis: the
// thread has no ID yet, so it is bound to the commitments instead.
func (g *Genesis) sealFirst(read SecretKey) ([]byte, error) {
	to, err := g.Recovery.SealingPublic()
	if err != nil {
		return nil, err
	}
	return keys.Seal(to, SealedTo(ThreadID{}, sealGenesis), g.committed(), read[:])
}

func (g *Genesis) committed() []byte { return append(g.Read[:], g.Service[:]...) }

// OpenFirst adds to k the read key of the first epoch, which the genesis gives whoever has
// the first recovery key; ErrSealed says that it is another.
func (g *Genesis) OpenFirst(thread ThreadID, k *Keys, key *keys.Identity) (Keys, error) {
	b, err := keys.Open(key.SealingKey(), SealedTo(ThreadID{}, sealGenesis), g.committed(), g.Sealed)
	if err != nil {
		return Keys{}, fault.Of(ErrSealed, "the genesis gives its key to another recovery key: %w", err)
	}
	if len(b) != len(SecretKey{}) || CommitTo(SecretKey(b)) != g.Read {
		return Keys{}, fault.Of(ErrWrongKey, "the genesis gives another key than it commits to")
	}
	return k.With(clock.Hash(thread), SecretKey(b)), nil
}
