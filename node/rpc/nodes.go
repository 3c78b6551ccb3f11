package rpc

import (
	"context"
	"encoding/json"
	"time"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Identify tells the person, the device and the peer ID, which is the device's key in
// another form. It reads nothing from the store, so it is also a probe whether the node
// answers.
func (s nodeService) Identify(context.Context, *connect.Request[weftv1.IdentifyRequest]) (*connect.Response[weftv1.IdentifyResponse], error) {
	return connect.NewResponse(&weftv1.IdentifyResponse{
		Identity: s.n.Identity().DID(), Device: s.n.Device().DID(), Peer: s.n.Peer().String(),
	}), nil
}

// Status is answered also while something is damaged or the disk is full, as it is what
// tells of that. Its counts are taken one after the other, not at one moment.
func (s nodeService) Status(context.Context, *connect.Request[weftv1.StatusRequest]) (*connect.Response[weftv1.StatusResponse], error) {
	n := s.n
	st, err := n.Status()
	if err != nil {
		return nil, err
	}
	out := &weftv1.StatusResponse{
		Identity: n.Identity().DID(), Peer: n.Peer().String(), Addrs: n.Addrs(), Api: n.SurfaceAddr(node.SurfaceAPI),
		Relay: st.Relay, Version: node.Version(), Home: n.Home(), Databases: uint32(st.Databases),
		Threads: uint32(st.Threads), Peers: uint32(st.Peers), Relays: uint32(st.Relays), Bytes: st.Bytes,
		Loaded: uint32(st.Loaded), Engine: st.Engine, Full: st.Full,
	}
	out.Damage, out.Lost = damages(st.Damage), damages(st.Lost)
	if c := st.Checked; c != nil {
		out.Checked = &weftv1.Checked{Began: stamp(c.Began), Ended: stamp(c.Ended), Bytes: c.Bytes, Damaged: uint32(c.Findings())}
	}
	return connect.NewResponse(out), nil
}

// damages leaves the ID out where no database owns the damage: a zero ID would look like
// one.
func damages(all []node.Damage) (out []*weftv1.Damage) {
	for _, d := range all {
		m := &weftv1.Damage{Database: d.Database, Reason: d.Reason}
		if d.Database != "" {
			m.Id = d.ID.String()
		}
		out = append(out, m)
	}
	return out
}

// Peers lists the connections of now, relays included, each with the addresses that it goes
// by.
func (s nodeService) Peers(context.Context, *connect.Request[weftv1.PeersRequest]) (*connect.Response[weftv1.PeersResponse], error) {
	var out weftv1.PeersResponse
	for _, p := range s.n.Peers() {
		out.Peers = append(out.Peers, &weftv1.Peer{Id: p.ID.String(), Addrs: p.Addrs})
	}
	return connect.NewResponse(&out), nil
}

// Backup sends the bytes of a backup, and then its manifest. The manifest can only be last,
// as it has the hashes of what was sent; a stream that ends without it is no backup. It is
// made of one moment while the node goes on, and does not hold the API's token.
func (s nodeService) Backup(ctx context.Context, _ *connect.Request[weftv1.BackupRequest], out *connect.ServerStream[weftv1.BackupResponse]) error {
	m, err := s.n.Backup(ctx, sender(func(p []byte) error { return out.Send(&weftv1.BackupResponse{Data: p}) }))
	if err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return out.Send(&weftv1.BackupResponse{Manifest: text})
}

// checkBeat is how often a check says that it goes on. A check can take hours, and a
// connection on which nothing comes is closed by whatever lies between.
const checkBeat = 5 * time.Second

// Check checks the home and sends what it found. The check runs in a goroutine of its own
// because it does not send while it reads. It never outlives the call: if the caller is
// gone the check is canceled and awaited before Check returns. ended has room for the
// result, so the goroutine ends even when nobody receives it. What it found is kept by the
// node.
func (s nodeService) Check(ctx context.Context, _ *connect.Request[weftv1.CheckRequest], out *connect.ServerStream[weftv1.CheckResponse]) error {
	type result struct {
		d   node.Diagnosis
		err error
	}
	ended := make(chan result, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		d, err := s.n.Check(ctx, node.CheckOptions{})
		ended <- result{d, err}
	}()
	beat := time.NewTicker(checkBeat)
	defer beat.Stop()
	for {
		select {
		case r := <-ended:
			if r.err != nil {
				return r.err
			}
			text, err := json.Marshal(r.d)
			if err != nil {
				return err
			}
			return out.Send(&weftv1.CheckResponse{Diagnosis: text})
		case <-beat.C:
			if err := out.Send(&weftv1.CheckResponse{}); err != nil {
				cancel()
				<-ended
				return err
			}
		}
	}
}
