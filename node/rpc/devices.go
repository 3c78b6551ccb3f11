package rpc

import (
	"context"
	"strings"

	"connectrpc.com/connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Add tells of each database whether the device was let in: that this device may not add one
// to some is no error of the call, unless they were named.
func (s deviceService) Add(ctx context.Context, r *connect.Request[weftv1.AddDeviceRequest]) (*connect.Response[weftv1.AddDeviceResponse], error) {
	request := strings.TrimSpace(r.Msg.GetRequest())
	var (
		device  keys.PublicKey
		reply   string
		changes []node.DeviceChange
		err     error
	)
	if strings.Contains(request, ":") && !strings.HasPrefix(request, scheme) || len(request) > 512 {
		device, reply, changes, err = s.n.AddDevice(ctx, request, r.Msg.GetDatabases())
	} else {
		var known node.Device
		if known, err = findDevice(s.n.Devices(), request); err == nil {
			device = known.Key
			reply, changes, err = s.n.AddKnownDevice(ctx, device, r.Msg.GetDatabases())
		}
	}
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.AddDeviceResponse{Peer: node.PeerOf(device), Reply: reply, Changes: changesMessage(changes)}), nil
}

func (s deviceService) Accept(ctx context.Context, r *connect.Request[weftv1.AcceptDeviceRequest]) (*connect.Response[weftv1.AcceptDeviceResponse], error) {
	changes, err := s.n.AcceptDevice(ctx, r.Msg.GetReply())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.AcceptDeviceResponse{Changes: changesMessage(changes)}), nil
}

func changesMessage(all []node.DeviceChange) (out []*weftv1.DeviceChange) {
	for _, c := range all {
		m := &weftv1.DeviceChange{Database: c.Database}
		if c.Err != nil {
			m.Reason = c.Err.Error()
		}
		out = append(out, m)
	}
	return out
}

func (s deviceService) List(context.Context, *connect.Request[weftv1.ListDevicesRequest]) (*connect.Response[weftv1.ListDevicesResponse], error) {
	var out weftv1.ListDevicesResponse
	for _, d := range s.n.Devices() {
		m := &weftv1.Device{Peer: node.PeerOf(d.Key), Name: d.Name, Self: d.Key == s.n.Device()}
		for _, in := range d.Databases {
			m.Databases = append(m.Databases, &weftv1.DeviceIn{Database: in.Database, Role: in.Role, Since: stamp(in.Since), Added: in.Added})
		}
		out.Devices = append(out.Devices, m)
	}
	return connect.NewResponse(&out), nil
}

// Remove takes the whole name of a device too: people gave it themselves.
func (s deviceService) Remove(ctx context.Context, r *connect.Request[weftv1.RemoveDeviceRequest]) (*connect.Response[weftv1.RemoveDeviceResponse], error) {
	device, err := findDevice(s.n.Devices(), r.Msg.GetDevice())
	if err != nil {
		return nil, err
	}
	changes, err := s.n.RemoveDevice(ctx, device.Key, r.Msg.GetDatabases())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&weftv1.RemoveDeviceResponse{Peer: node.PeerOf(device.Key), Changes: changesMessage(changes)}), nil
}

// findDevice returns the device that a text names: its whole name, its peer ID or did:key, or
// a beginning of either.
func findDevice(all []node.Device, text string) (node.Device, error) {
	var of []node.Device
	for _, d := range all {
		if d.Name != "" && d.Name == text {
			of = append(of, d)
		}
	}
	if len(of) > 1 {
		return node.Device{}, fault.Errorf(fault.Ambiguous, "%d devices are named %.80q: give the peer ID of one", len(of), text)
	}
	if len(of) == 1 {
		return of[0], nil
	}
	found, err := named(all, strings.TrimPrefix(text, scheme), func(d node.Device) []string {
		return []string{strings.TrimPrefix(d.Key.DID(), scheme), node.PeerOf(d.Key)}
	})
	if err == nil && len(found) == 0 {
		err = fault.Of(node.ErrNotFound, "no device of this identity is named %.80q: weft device ls lists them", text)
	}
	if err != nil {
		return node.Device{}, err
	}
	return found[0], nil
}
