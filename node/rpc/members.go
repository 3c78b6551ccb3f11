package rpc

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/clock"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Members lists those that wait as well: an owner sees in one answer whom it can admit.
func (s databaseService) Members(_ context.Context, r *connect.Request[weftv1.MembersRequest]) (*connect.Response[weftv1.MembersResponse], error) {
	members, err := s.n.Members(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	waiting, err := s.n.WaitingJoins(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	var out weftv1.MembersResponse
	for _, m := range members {
		out.Members = append(out.Members, &weftv1.Member{
			Peer: node.PeerOf(m.Device), Identity: m.Identity.DID(), Name: m.Name, Role: m.Role.String(),
			Since: stamp(m.Since.Wall()), Self: m.Device == s.n.Device(), Added: m.Added,
		})
	}
	commitment, err := s.n.Commitment(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	out.Recoverable = !commitment.Key.IsZero()
	for _, u := range commitment.Used {
		out.Recovered = append(out.Recovered, recoveryMessage(u))
	}
	for _, u := range commitment.Frozen {
		out.Frozen = append(out.Frozen, recoveryMessage(u))
	}
	for _, w := range waiting {
		out.Waiting = append(out.Waiting, s.joinMessage(w))
	}
	return connect.NewResponse(&out), nil
}

func recoveryMessage(u node.Recovered) *weftv1.Recovery {
	return &weftv1.Recovery{Peer: node.PeerOf(u.Device), Identity: u.Identity.DID(), Name: u.Name, Time: stamp(u.Time.Wall())}
}

func (s databaseService) joinMessage(w node.WaitingJoin) *weftv1.WaitingJoin {
	return &weftv1.WaitingJoin{
		Id: w.Join.String(), Peer: node.PeerOf(w.Device), Identity: w.Identity.DID(), Name: w.Name,
		Invite: w.Invite.DID(), Time: stamp(w.Time.Wall()), Self: w.Device == s.n.Device(), Barred: w.Barred,
	}
}

// tellWaiting says in a status who waits to be admitted, and whether rights are frozen. A
// device that is a member by another join does not wait.
func (s databaseService) tellWaiting(name string, out *weftv1.DatabaseStatusResponse) error {
	commitment, err := s.n.Commitment(name)
	if err != nil {
		return err
	}
	out.Frozen = len(commitment.Frozen) > 0
	waiting, err := s.n.WaitingJoins(name)
	if err != nil || len(waiting) == 0 {
		return err
	}
	members, err := s.n.Members(name)
	if err != nil {
		return err
	}
	told := map[keys.PublicKey]bool{}
	for _, m := range members {
		told[m.Device] = true
	}
	for _, w := range waiting {
		switch {
		case told[w.Device]:
		case w.Device == s.n.Device():
			out.Self = s.joinMessage(w)
		default:
			out.Waiting++
		}
		told[w.Device] = true
	}
	return nil
}

// Invites lists those that are closed as well: who was once let in by whom should stay
// visible. The state is by the clock of this node.
func (s databaseService) Invites(_ context.Context, r *connect.Request[weftv1.InvitesRequest]) (*connect.Response[weftv1.InvitesResponse], error) {
	all, err := s.n.Invites(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	var out weftv1.InvitesResponse
	now := time.Now()
	for _, i := range all {
		m := &weftv1.InviteInfo{
			Id: i.Key.DID(), Role: i.Role.String(), Uses: i.Uses, Used: i.Used,
			State: inviteState(i, now), Creator: node.PeerOf(i.Creator),
		}
		if i.Expires != 0 {
			m.Expires = stamp(i.Expires.Wall())
		}
		out.Invites = append(out.Invites, m)
	}
	return connect.NewResponse(&out), nil
}

// inviteState says whether an invite lets somebody in, and else why not. Of one that is
// closed and whose time is over, nobody can tell whether it was revoked before.
func inviteState(i node.InviteInfo, now time.Time) string {
	expired := i.Expires != 0 && !now.Before(i.Expires.Wall())
	switch {
	case i.Uses != 0 && i.Used >= i.Uses:
		return "used up"
	case expired && i.Closed:
		return "closed"
	case expired:
		return "expired"
	case i.Closed:
		return "revoked"
	}
	return "open"
}

// RevokeInvite revokes none if one of the names is wrong. To revoke again changes nothing.
func (s databaseService) RevokeInvite(ctx context.Context, r *connect.Request[weftv1.RevokeInviteRequest]) (*connect.Response[weftv1.RevokeInviteResponse], error) {
	name := r.Msg.GetName()
	all, err := s.n.Invites(name)
	if err != nil {
		return nil, err
	}
	var revoked []keys.PublicKey
	for _, text := range r.Msg.GetInvites() {
		i, err := findInvite(all, text, name)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, i.Key)
	}
	for _, key := range revoked {
		if err := s.n.RevokeInvite(ctx, name, key); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&weftv1.RevokeInviteResponse{}), nil
}

// Admit admits none if one of the names is wrong.
func (s databaseService) Admit(ctx context.Context, r *connect.Request[weftv1.AdmitRequest]) (*connect.Response[weftv1.AdmitResponse], error) {
	name := r.Msg.GetName()
	all, err := s.n.WaitingJoins(name)
	if err != nil {
		return nil, err
	}
	var joins []clock.Hash
	for _, text := range r.Msg.GetJoins() {
		w, err := findJoin(all, text, name)
		if err != nil {
			return nil, err
		}
		joins = append(joins, w.Join)
	}
	if err := s.n.Admit(ctx, name, joins...); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.AdmitResponse{}), nil
}

// SetRole also takes who waits: a role lets in who was removed.
func (s databaseService) SetRole(ctx context.Context, r *connect.Request[weftv1.SetRoleRequest]) (*connect.Response[weftv1.SetRoleResponse], error) {
	name := r.Msg.GetName()
	waiting, err := s.n.WaitingJoins(name)
	if err != nil {
		return nil, err
	}
	who, err := s.subject(name, r.Msg.GetIdentity(), waiting...)
	if err != nil {
		return nil, err
	}
	if err := s.n.SetRole(ctx, name, who.identity, r.Msg.GetRole()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.SetRoleResponse{Identity: who.identity.DID()}), nil
}

func (s databaseService) RemoveMember(ctx context.Context, r *connect.Request[weftv1.RemoveMemberRequest]) (*connect.Response[weftv1.RemoveMemberResponse], error) {
	name := r.Msg.GetName()
	who, err := s.subject(name, r.Msg.GetSubject())
	if err != nil {
		return nil, err
	}
	if err := s.n.RemoveMember(ctx, name, who.key); err != nil {
		return nil, err
	}
	out := &weftv1.RemoveMemberResponse{Peer: node.PeerOf(who.key)}
	if who.key == who.identity {
		out.Peer, out.Identity = "", who.identity.DID()
	}
	return connect.NewResponse(out), nil
}

func (s databaseService) Leave(ctx context.Context, r *connect.Request[weftv1.LeaveRequest]) (*connect.Response[weftv1.LeaveResponse], error) {
	if err := s.n.Leave(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.LeaveResponse{}), nil
}

func (s databaseService) Transfer(ctx context.Context, r *connect.Request[weftv1.TransferRequest]) (*connect.Response[weftv1.TransferResponse], error) {
	name := r.Msg.GetName()
	who, err := s.subject(name, r.Msg.GetIdentity())
	if err != nil {
		return nil, err
	}
	if err := s.n.Transfer(ctx, name, who.identity); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.TransferResponse{Identity: who.identity.DID()}), nil
}

func (s databaseService) Rotate(ctx context.Context, r *connect.Request[weftv1.RotateRequest]) (*connect.Response[weftv1.RotateResponse], error) {
	if err := s.n.Rotate(ctx, r.Msg.GetName()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RotateResponse{}), nil
}

// A subject is an identity, or one of its devices: then key is the device's.
type subject struct{ key, identity keys.PublicKey }

// subject returns whom of a database a text names.
func (s databaseService) subject(database, text string, waiting ...node.WaitingJoin) (subject, error) {
	members, err := s.n.Members(database)
	if err != nil {
		return subject{}, err
	}
	return findSubject(members, waiting, text, database)
}

// findSubject returns the identity or device that a text names: a did:key, with or without
// did:key:, or a peer ID, or a beginning of either. An identity that is no member any more
// has no other name than its whole did:key.
func findSubject(members []node.Member, waiting []node.WaitingJoin, text, database string) (subject, error) {
	var all []subject
	for _, m := range members {
		all = append(all, subject{m.Device, m.Identity}, subject{m.Identity, m.Identity})
	}
	for _, w := range waiting {
		all = append(all, subject{w.Device, w.Identity}, subject{w.Identity, w.Identity})
	}
	found, err := named(all, strings.TrimPrefix(text, scheme), func(x subject) []string {
		did := strings.TrimPrefix(x.key.DID(), scheme)
		if x.key == x.identity {
			return []string{did}
		}
		return []string{did, node.PeerOf(x.key)}
	})
	switch {
	case err != nil:
		return subject{}, err
	case len(found) > 0:
		return found[0], nil
	}
	if key, err := keys.ParseDID(text); err == nil {
		return subject{key, key}, nil
	}
	return subject{}, fault.Of(node.ErrNotFound, "no member is named %.80q: weft db members %s lists them", text, database)
}

// scheme begins the text of a key.
const scheme = "did:key:"

// findInvite returns the invite that a text names: its ID, with or without did:key:, a
// beginning of it, or its URL, which no error repeats.
func findInvite(all []node.InviteInfo, text, database string) (node.InviteInfo, error) {
	if strings.HasPrefix(text, "weft:") {
		key, err := node.InviteKey(text)
		if err != nil {
			return node.InviteInfo{}, err
		}
		text = key.DID()
	}
	found, err := named(all, strings.TrimPrefix(text, scheme), func(i node.InviteInfo) []string {
		return []string{strings.TrimPrefix(i.Key.DID(), scheme)}
	})
	if err == nil && len(found) == 0 {
		err = fault.Of(node.ErrNotFound, "no invite is named %.80q: weft db invites %s lists them", text, database)
	}
	if err != nil {
		return node.InviteInfo{}, err
	}
	return found[0], nil
}

// findJoin returns the join that a text names: its ID, the peer ID of its device, or a
// beginning of either.
func findJoin(all []node.WaitingJoin, text, database string) (node.WaitingJoin, error) {
	found, err := named(all, text, func(w node.WaitingJoin) []string {
		return []string{w.Join.String(), node.PeerOf(w.Device)}
	})
	if err == nil && len(found) == 0 {
		err = fault.Of(node.ErrNotFound, "no device that waits is named %.80q: weft db members %s lists them", text, database)
	}
	if err != nil {
		return node.WaitingJoin{}, err
	}
	return found[0], nil
}

// minName is how much of a name there must be: what is shorter is a slip of the hand.
const minName = 6

// named returns the one whose name begins with a text, or none. Several are an error,
// unless they have the same first name, which is their own.
func named[T any](all []T, text string, names func(T) []string) ([]T, error) {
	if len(text) < minName {
		return nil, fault.Errorf(fault.InvalidArgument, "%q is too short: give at least %d characters of the ID", text, minName)
	}
	var found []T
	for _, x := range all {
		if !slices.ContainsFunc(names(x), func(name string) bool { return strings.HasPrefix(name, text) }) {
			continue
		}
		if len(found) > 0 && names(found[0])[0] != names(x)[0] {
			return nil, fault.Errorf(fault.Ambiguous, "%.80q is ambiguous: it matches %s and %s", text, names(found[0])[0], names(x)[0])
		}
		found = append(found, x)
	}
	return found, nil
}
