package command

// Feeds returns how many watches and live queries are open that no getMore is reading.
func (rn *Runner) Feeds() int {
	rn.subscriptions.mu.Lock()
	defer rn.subscriptions.mu.Unlock()
	return len(rn.subscriptions.open)
}
