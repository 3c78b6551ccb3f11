package db

// Looked is how many documents an aggregation has looked at in collections that
// it has read.
func (a *Aggregation) Looked() int64 { return a.looked }
