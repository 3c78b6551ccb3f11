// Package check is what a check of a home has found and what a repair then did, and how a
// check reads: at a rate, and a log once more from nothing.
package check

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"
)

// A Diagnosis is what a check of a home has found.
type Diagnosis struct {
	Began     time.Time  `json:"began"`
	Ended     time.Time  `json:"ended"` // zero while it goes on
	Bytes     int64      `json:"bytes"` // of logs and blobs that were read
	Databases []Database `json:"databases"`
	Kept      []Database `json:"kept,omitempty"` // threads that are kept for others, without names
	Damage    []string   `json:"damage"`         // in what no database owns, and in the store's files
}

// A Database is what a check has found of one database.
type Database struct {
	Name    string   `json:"name"`
	ID      string   `json:"id"`
	Hash    string   `json:"hash,omitempty"` // the state hash; "" if it is not known
	Records int64    `json:"records"`
	Blobs   int64    `json:"blobs"`
	Damage  []string `json:"damage"`
	// Broken says that more is damaged than blobs, which alone can be asked for again: the
	// database is not served. It is known to who checked only.
	Broken bool `json:"-"`
	// Rebuilding says that it was damaged and that its peers have not given yet what
	// they hold.
	Rebuilding bool `json:"rebuilding,omitempty"`
	// Lost says what of it was lost or given up in a repair.
	Lost string `json:"lost,omitempty"`
	// Objection says who got another state from the history than a checkpoint has, so that
	// nothing of that is deleted.
	Objection string `json:"objection,omitempty"`
	// Lacks are the blocks of files that were damaged and have not come back, at most 100.
	Lacks []Lack `json:"lacks,omitempty"`
}

// Of returns what was found of a thread, by its ID, nothing if it is not there.
func Of(all []Database, id string) Database {
	for _, b := range all {
		if b.ID == id {
			return b
		}
	}
	return Database{}
}

// Read reads what a check of before has found; a file that cannot be read is none.
func Read(file string) *Diagnosis {
	b, err := os.ReadFile(file)
	var d Diagnosis
	if err != nil || json.Unmarshal(b, &d) != nil {
		return nil
	}
	return &d
}

// A Lack is a block of files that was damaged and has not come back. Who puts it again, or
// a peer that has it, ends that.
type Lack struct {
	ID    string    `json:"id"`    // of the blob
	Bytes int       `json:"bytes"` // sealed; 0 if that is not known
	Since time.Time `json:"since"`
	Files []string  `json:"files"` // bucket/path of some that need it, if they are known
}

func (l Lack) String() string {
	if len(l.Files) == 0 {
		return "blob " + l.ID
	}
	return strings.Join(l.Files, ", ")
}

// Whole reports whether nothing is damaged, and nothing is still being rebuilt.
func (d *Diagnosis) Whole() bool {
	return d.Undamaged() && !slices.ContainsFunc(d.Databases, func(b Database) bool { return b.Rebuilding })
}

// Findings counts what is damaged.
func (d *Diagnosis) Findings() int {
	n := len(d.Damage)
	for _, b := range slices.Concat(d.Databases, d.Kept) {
		n += len(b.Damage)
	}
	return n
}

// Undamaged is Whole but for databases that are being rebuilt, which a repair need not
// begin again.
func (d *Diagnosis) Undamaged() bool { return d.Findings() == 0 }

// Lacking reports whether blobs were damaged and have not come back.
func (d *Diagnosis) Lacking() bool {
	return slices.ContainsFunc(slices.Concat(d.Databases, d.Kept), func(b Database) bool { return len(b.Lacks) > 0 })
}

// Broken reports whether more is damaged than blobs.
func (d *Diagnosis) Broken() bool {
	return len(d.Damage) > 0 || slices.ContainsFunc(slices.Concat(d.Databases, d.Kept), func(b Database) bool { return b.Broken })
}

// maxDamage bounds what is listed of one database.
const maxDamage = 100

// Add adds what is damaged, said in a sentence, unless that was said.
func (b *Database) Add(text string) {
	if len(b.Damage) < maxDamage && !slices.Contains(b.Damage, text) {
		b.Damage = append(b.Damage, text)
	}
}

// SetLacks sets what is lacking.
func (b *Database) SetLacks(lacks []Lack) { b.Lacks = lacks[:min(len(lacks), maxDamage)] }
