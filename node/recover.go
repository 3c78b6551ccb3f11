package node

import (
	"context"
	"fmt"

	"github.com/weftdb/weft/net"
)

// nameThreads takes up the threads of which a crash left no database: the process ended
// after it made or joined one and before it kept the name. Threads that are kept for
// others, and those of damaged databases, have no name here on purpose.
func (n *Node) nameThreads(ctx context.Context) error {
	known := map[net.ThreadID]bool{}
	for _, d := range n.all() {
		known[d.thread.ID()] = true
	}
	for _, d := range n.note.All() { // damaged ones too
		known[d.Thread] = true
	}
	for id := range n.host.Kept() {
		known[id] = true
	}
	for _, t := range n.host.Threads() {
		if known[t.ID()] {
			continue
		}
		if t.Name() == mailboxName || t.Device() != n.Device() {
			// It holds nothing yet: a mailbox, and a hosted database, is used when it has its name.
			if err := n.host.Remove(ctx, t.ID()); err != nil {
				return fmt.Errorf("unnamed database: %w", err)
			}
			continue
		}
		name, err := n.freeName(t.Name())
		if err != nil {
			return err
		}
		if _, err := n.register(name, t); err != nil {
			return err
		}
		n.log.Warn("a database that was made or joined when the process ended has its name now", "database", name)
	}
	return nil
}
