package command

// Feeds returns how many watches and live queries are open that no getMore is reading.
func (rn *Runner) Feeds() int {
	rn.feeds.mu.Lock()
	defer rn.feeds.mu.Unlock()
	return len(rn.feeds.open)
}
