package check

import "slices"

// A Repair says what a repair of a home did.
type Repair struct {
	Found     Diagnosis         `json:"found"`          // before
	Kept      string            `json:"kept,omitempty"` // where the damaged store is, to be removed when it is not needed
	Unread    []string          `json:"unread"`         // what of the store could not be read
	Databases []RebuiltDatabase `json:"databases"`      // those that were damaged, or may have lost something
	Lost      []string          `json:"lost"`           // of what no database owns
	Threads   []RebuiltThread   `json:"threads"`        // kept for others, that were damaged or lack blobs
}

// A RebuiltThread is a thread that is kept for others and was damaged. What it lacks comes
// when a device that has it connects.
type RebuiltThread struct {
	ID    string `json:"id"`
	Lacks []Lack `json:"lacks"`
	// Uncertain says that it may have lost its last records and blobs.
	Uncertain bool `json:"uncertain,omitempty"`
}

// A RebuiltDatabase is a database that was damaged, or that may have lost something.
type RebuiltDatabase struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Records int64    `json:"records"` // that were still here
	Served  bool     `json:"served"`  // false while relays or members have not given what they hold
	Hash    string   `json:"hash,omitempty"`
	Lost    []string `json:"lost"` // what is nowhere in reach
	// Noted is how many records this device is known to have written, Gone how many of
	// them are not here.
	Noted uint64 `json:"noted"`
	Gone  uint64 `json:"gone"`
	AsIs  bool   `json:"as_is,omitempty"` // it was taken as it was: what is gone is given up
	// Uncertain says that it may have lost its last records, and that nobody can tell.
	Uncertain bool `json:"uncertain,omitempty"`
	// Lacks are the blocks of files that are damaged and have not come back. Earlier says
	// that a repair of before had found that.
	Lacks   []Lack `json:"lacks,omitempty"`
	Earlier bool   `json:"earlier,omitempty"`
}

// Whole reports whether everything of the database is back.
func (d *RebuiltDatabase) Whole() bool {
	return d.Served && len(d.Lost) == 0 && d.Gone == 0 && !d.Uncertain && (len(d.Lacks) == 0 || d.Earlier)
}

// Whole reports whether everything is back.
func (r *Repair) Whole() bool {
	return r.OnlyLacks() && !slices.ContainsFunc(r.Databases, func(d RebuiltDatabase) bool { return !d.Whole() }) &&
		!slices.ContainsFunc(r.Threads, func(t RebuiltThread) bool { return len(t.Lacks) > 0 || t.Uncertain })
}

// OnlyLacks reports whether all that is not back is blocks of files.
func (r *Repair) OnlyLacks() bool {
	return len(r.Lost) == 0 && !slices.ContainsFunc(r.Threads, func(t RebuiltThread) bool { return t.Uncertain }) &&
		!slices.ContainsFunc(r.Databases, func(d RebuiltDatabase) bool { d.Lacks = nil; return !d.Whole() })
}
