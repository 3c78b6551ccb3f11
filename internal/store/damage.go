package store

// A Damage is a place on disk that does not hold what was written there.
type Damage struct {
	File string // path of the file that is damaged or missing; the store's folder if no file can be named
	// Lower and Upper bound the keys that it touches, Lower <= k < Upper. Both nil:
	// they are not known, it may be all.
	Lower, Upper []byte
	Err          error // of kind corrupt: one sentence that names the file
}

// Touches reports whether a damage may hold keys that begin with prefix.
func (d Damage) Touches(prefix []byte) bool {
	if d.Lower == nil && d.Upper == nil {
		return true
	}
	end := PrefixEnd(prefix)
	return (d.Upper == nil || compare(prefix, d.Upper) < 0) && (end == nil || compare(d.Lower, end) < 0)
}
