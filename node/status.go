package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/homedir"
)

// A Status counts what the node holds and who it is connected to, at one moment.
type Status struct {
	Relay     bool  // it keeps threads and mail of others
	Databases int   // the mailbox is not counted
	Loaded    int   // databases in memory
	Threads   int   // the node's own, and those that it keeps for others
	Peers     int   // connected
	Relays    int   // that keep this node's databases
	Bytes     int64 // of the store and the files of blobs, on disk; of the latter up to 10 s ago
	Engine    string
	Damage    []Damage   // what is not served, databases that are being rebuilt included
	Lost      []Damage   // what is served without something that was lost in the last 30 days, or is lacking
	Checked   *Diagnosis // the last check, nil if there was none
	Full      bool       // writes are refused, as the disk is full
}

// Status returns what the node holds now. It reads no database and loads none. Damage of
// the list of relays does not keep it from telling the rest.
func (n *Node) Status() (Status, error) {
	bytes, err := n.store.Size()
	if err != nil {
		return Status{}, err
	}
	blobs, err := n.blobSize.Of(n.home.Path(homedir.DirBlobs), time.Now())
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	relays, err := n.Relays()
	if err != nil && !isDamage(err) {
		return Status{}, err
	}
	engine, err := n.engine()
	if err != nil {
		return Status{}, err
	}
	damage, lost, refs := n.Damages(), []Damage(nil), n.Databases()
	for _, r := range refs {
		if r.Damage != "" && !slices.ContainsFunc(damage, func(d Damage) bool { return d.Database == r.Name }) {
			damage = append(damage, Damage{Database: r.Name, ID: r.ID, Reason: r.Damage})
		}
		if r.Lost != "" {
			lost = append(lost, Damage{Database: r.Name, ID: r.ID, Reason: r.Lost})
		}
	}
	lost = append(lost, n.keptLacks()...)
	return Status{
		Relay: n.cfg.Relay, Databases: len(refs), Loaded: n.Loaded(), Threads: len(n.host.Threads()),
		Peers: len(n.host.Peers()), Relays: len(relays), Bytes: bytes + blobs,
		Engine: engine, Damage: damage, Lost: lost, Checked: n.LastCheck(), Full: n.store.Full() != nil,
	}, nil
}

// engine returns the store's engine.
func (n *Node) engine() (string, error) {
	if n.cfg.Memory {
		return engines.Default, nil
	}
	return engines.Engine(n.home.Path(homedir.DirStore))
}

// A ConnectedPeer is a peer that the node is connected to.
type ConnectedPeer struct {
	ID    peer.ID
	Addrs []string // multiaddrs of its connections
}

// Peers returns the connected peers.
func (n *Node) Peers() []ConnectedPeer {
	var out []ConnectedPeer
	for _, id := range n.host.Peers() {
		p := ConnectedPeer{ID: id}
		for _, addr := range n.host.Routes(id) {
			if a := addr.String(); !slices.Contains(p.Addrs, a) { // two that dialled each other have two
				p.Addrs = append(p.Addrs, a)
			}
		}
		out = append(out, p)
	}
	return out
}

// PeersChanged returns a channel that is closed when a peer comes or goes; take it
// before [Node.Peers].
func (n *Node) PeersChanged() <-chan struct{} { return n.host.PeersChanged() }

// Device returns the signing key of this device, which its peer ID stands for.
func (n *Node) Device() keys.PublicKey { return n.self.Device.Public().Sign }
