package node

// Forks returns how many logs of a database are known to be forked.
func Forks(n *Node, name string) (int, error) {
	d, err := n.lookup(name)
	if err != nil {
		return 0, err
	}
	forks, err := d.thread.Forks()
	return len(forks), err
}

// Suspended reports whether a database is not in memory.
func Suspended(n *Node, name string) (bool, error) {
	d, err := n.lookup(name)
	if err != nil {
		return false, err
	}
	return !d.handle.loaded(), nil
}

// Blobs returns how many blobs of a database are held, and their bytes.
func Blobs(n *Node, name string) (count, bytes int64, err error) {
	d, err := n.lookup(name)
	if err != nil {
		return 0, 0, err
	}
	c := d.thread.Counts()
	return c.Blobs, c.BlobBytes, nil
}
