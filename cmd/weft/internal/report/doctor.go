package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/node"
)

// WriteDiagnosis tells what a check has found.
func WriteDiagnosis(w io.Writer, d node.Diagnosis) {
	rows := [][]string{{"DATABASE", "STATE", "RECORDS", "FILES", "HASH"}}
	for _, b := range d.Databases {
		state := "whole"
		switch {
		case len(b.Damage) > 0:
			state = "DAMAGED"
		case b.Rebuilding:
			state = "rebuilding"
		case b.Lost != "" || len(b.Lacks) > 0:
			state = "consistent" // what is there is as it was written
		}
		rows = append(rows, []string{b.Name, state, fmt.Sprint(b.Records), fmt.Sprint(b.Blobs), cmp.Or(b.Hash, "-")})
	}
	if len(rows) > 1 {
		words.Table(w, rows...)
	}
	// A file that several databases are in is said once.
	var order []string
	of := map[string][]string{}
	for _, b := range slices.Concat(d.Databases, d.Kept) {
		for _, what := range b.Damage {
			if of[what] == nil {
				order = append(order, what)
			}
			of[what] = append(of[what], NameOf(b.Name, b.ID))
		}
	}
	for _, what := range order {
		fmt.Fprintf(w, "%s: %s\n", strings.Join(of[what], ", "), what)
	}
	for _, what := range d.Damage {
		if of[what] == nil {
			fmt.Fprintln(w, what)
		}
	}
	for _, b := range slices.Concat(d.Databases, d.Kept) {
		if b.Lost != "" {
			fmt.Fprintf(w, "%s: %s\n", b.Name, b.Lost)
		}
		if b.Objection != "" {
			fmt.Fprintf(w, "%s: history that was cut off is not deleted: %s\n", b.Name, tty.Printable(b.Objection))
		}
		WriteLacks(w, NameOf(b.Name, b.ID), b.Lacks)
	}
	if d.Whole() {
		what := "nothing"
		if d.Lacking() {
			what = "nothing else"
		}
		fmt.Fprintf(w, "checked %s in %s: %s is damaged\n", words.Size(d.Bytes), d.Ended.Sub(d.Began).Round(time.Millisecond), what)
	}
}

// NameOf names a database, or a thread that is kept for others.
func NameOf(name, id string) string {
	if name == "" {
		return "thread " + id + ", kept for others"
	}
	return tty.Printable(name)
}

// WriteLacks tells which blocks of files are damaged and have not come back.
func WriteLacks(w io.Writer, name string, lacks []node.Lack) {
	for _, l := range lacks {
		what := "blob " + l.ID
		if len(l.Files) > 0 {
			what += ", of " + tty.Printable(l.String())
		}
		fmt.Fprintf(w, "%s lacks %s, damaged since %s: it comes back from a peer that has it, or when the file is pushed again\n",
			name, what, l.Since.Format(time.DateOnly))
	}
}

// WriteRepair tells what a repair did.
func WriteRepair(w io.Writer, r node.Repair) {
	for _, what := range r.Unread {
		fmt.Fprintf(w, "could not be read: %s\n", what)
	}
	for _, b := range r.Databases {
		writeRebuilt(w, b)
	}
	for _, t := range r.Threads {
		switch {
		case t.Uncertain:
			fmt.Fprintf(w, "%s, may have lost its last records and files: a repair does not fetch them; start weft daemon --relay, and devices give them again when they connect\n", NameOf("", t.ID))
		case len(t.Lacks) == 0:
			fmt.Fprintf(w, "%s is whole again\n", NameOf("", t.ID))
		}
		WriteLacks(w, NameOf("", t.ID), t.Lacks)
	}
	for _, what := range r.Lost {
		fmt.Fprintf(w, "lost: %s\n", what)
	}
	switch {
	case r.Kept == "" && len(r.Databases) == 0 && len(r.Threads) == 0:
		fmt.Fprintln(w, "nothing is damaged: nothing was done")
	case r.Kept != "" && len(r.Databases)+len(r.Threads) == 0 && r.Whole():
		fmt.Fprintln(w, "every database is whole in the new store: all that it had is there")
	}
	if r.Kept != "" {
		fmt.Fprintf(w, "the damaged store is kept at %s: remove it when you do not need it\n", r.Kept)
	}
}

func writeRebuilt(w io.Writer, b node.RebuiltDatabase) {
	here := words.Count(b.Records, "record")
	gone := fmt.Sprintf("%d of the %s that this device had written", b.Gone, words.Count(int64(b.Noted), "record"))
	switch {
	case !b.Served && len(b.Lost) == 0:
		fmt.Fprintf(w, "%s waits for a relay or a member: %s were still here\n", b.Name, here)
	case !b.Served:
		fmt.Fprintf(w, "%s is not served\n", b.Name)
	case b.AsIs:
		fmt.Fprintf(w, "%s was taken as it is: %s are abandoned; hash %s, %s are here\n", b.Name, gone, b.Hash, here)
	case b.Gone > 0:
		fmt.Fprintf(w, "%s is served again without %s: hash %s, %s were still here\n", b.Name, gone, b.Hash, here)
	case b.Uncertain && len(b.Lost) == 0:
		fmt.Fprintf(w, "%s may have lost its last records: nothing tells how many there were; hash %s, %s are here\n", b.Name, b.Hash, here)
	case len(b.Lacks) > 0 && len(b.Lost) == 0:
		fmt.Fprintf(w, "%s is served without what it lacks: hash %s, %s are here\n", b.Name, b.Hash, here)
	case len(b.Lost) > 0:
		fmt.Fprintf(w, "%s is served again without what is lost: hash %s, %s were still here\n", b.Name, b.Hash, here)
	default:
		fmt.Fprintf(w, "%s is back: hash %s, %s were still here\n", b.Name, b.Hash, here)
	}
	if len(b.Lost) > 0 {
		fmt.Fprintf(w, "%s has lost %s\n", b.Name, strings.Join(b.Lost, "; "))
		if b.Uncertain {
			fmt.Fprintf(w, "%s may have lost later records too\n", b.Name)
		}
	}
	WriteLacks(w, b.Name, b.Lacks)
}
