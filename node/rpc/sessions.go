package rpc

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// remoteCaller refuses the calls of this service at the local listener, whose callers have another
// token.
func remoteCaller(ctx context.Context) (*caller, error) {
	if c := callerOf(ctx); c != nil {
		return c, nil
	}
	return nil, fault.Of(node.ErrInvalid, "tokens are for remote callers, at the address of weft daemon --hub")
}

// Challenge keeps nothing, so that anybody may ask.
func (s sessionService) Challenge(ctx context.Context, _ *connect.Request[weftv1.ChallengeRequest]) (*connect.Response[weftv1.ChallengeResponse], error) {
	if _, err := remoteCaller(ctx); err != nil {
		return nil, err
	}
	c, now := s.n.Sessions().Challenge()
	return connect.NewResponse(&weftv1.ChallengeResponse{Challenge: c[:], Audience: s.n.Device().DID(), Time: stamp(now)}), nil
}

// Mint gives the token once.
func (s sessionService) Mint(ctx context.Context, r *connect.Request[weftv1.MintRequest]) (*connect.Response[weftv1.MintResponse], error) {
	c, err := remoteCaller(ctx)
	if err != nil {
		return nil, err
	}
	token, session, err := s.n.Sessions().Mint(r.Msg.GetMint(), c.here)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.MintResponse{Token: token, Expires: stamp(session.Ends), Time: stamp(time.Now())}), nil
}

// Describe tells what the mint asked for; what key and grant leave of it is asked at each call.
func (sessionService) Describe(ctx context.Context, _ *connect.Request[weftv1.DescribeSessionRequest]) (*connect.Response[weftv1.DescribeSessionResponse], error) {
	c, err := remoteCaller(ctx)
	if err != nil {
		return nil, err
	}
	x := c.session
	out := &weftv1.DescribeSessionResponse{
		User: x.User.DID(), Account: x.Account.DID(), Key: keys.KeyText(x.Kind, x.Key), Expires: stamp(x.Ends), Bound: x.Bound(),
	}
	for _, scope := range x.Scopes {
		out.Scopes = append(out.Scopes, string(scope))
	}
	return connect.NewResponse(out), nil
}

// End cuts what runs by the session, but for this call.
func (s sessionService) End(ctx context.Context, _ *connect.Request[weftv1.EndSessionRequest]) (*connect.Response[weftv1.EndSessionResponse], error) {
	c, err := remoteCaller(ctx)
	if err != nil {
		return nil, err
	}
	s.n.Sessions().End(c.session)
	return connect.NewResponse(&weftv1.EndSessionResponse{}), nil
}

// Offer gives what the identity of the caller's space is to sign.
func (s spaceService) Offer(ctx context.Context, _ *connect.Request[weftv1.OfferRequest]) (*connect.Response[weftv1.OfferResponse], error) {
	d, generation, err := space(ctx, s.n).Offer()
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.OfferResponse{Sign: d.Sign.DID(), Seal: d.Seal[:], Generation: generation}), nil
}

// Delegate is for the identity of the caller's space only, as the delegation says.
func (s spaceService) Delegate(ctx context.Context, r *connect.Request[weftv1.DelegateRequest]) (*connect.Response[weftv1.DelegateResponse], error) {
	if err := space(ctx, s.n).Delegate(r.Msg.GetDelegation()); err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.DelegateResponse{}), nil
}
