package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

func (a *app) doctorCommand() *cobra.Command {
	var repair bool
	o := node.RepairOptions{}
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check everything in the home, and rebuild what is damaged", Args: args(0, 0),
		Long: "Check everything in the home: the store's files, the logs of every database with their chains and signatures,\n" +
			"the documents computed from them, files, and whether anything is missing. The exit status is 1 if something is damaged.\n\n" +
			"With --repair, which needs the home for itself, what can be read goes into a new store, and each damaged database is\n" +
			"rebuilt from its own log, else from its relays and members. The damaged store is kept beside the new one. Files' blocks\n" +
			"that are damaged are asked for again, and listed as lacking until a peer gives them or the file is pushed again. What a\n" +
			"relay keeps for others it does not fetch during a repair: devices give it again once weft daemon --relay runs. The exit\n" +
			"status is 1 if something is lost, may be lost, was abandoned with --as-is, or was not received yet; a later check and, for\n" +
			"30 days, db ls and status say so. It is 0 if everything is back.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !repair && (o.AsIs || cmd.Flags().Changed("wait")) {
				return usagef("--wait and --as-is go with --repair")
			}
			if o.Wait <= 0 {
				o.Wait = 1 // not the default
			}
			if err := a.existing(); err != nil {
				return err
			}
			if repair {
				return a.repair(cmd.Context(), o)
			}
			return a.examine(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&repair, "repair", false, "rebuild what is damaged")
	f.DurationVar(&o.Wait, "wait", 2*time.Minute, "how long to wait for relays and members to give what is not here; then the repair ends, and the rest comes when the node runs")
	f.BoolVar(&o.AsIs, "as-is", false, "serve what is left here, without waiting for relays and members: what is not here is abandoned, and the exit status is 1")
	return cmd
}

// examine checks the home, through the daemon if one runs.
func (a *app) examine(ctx context.Context) error {
	d, err := a.diagnosis(ctx)
	if err != nil {
		return err
	}
	if err := a.print(d, func(w io.Writer) { writeDiagnosis(w, d) }); err != nil || d.Whole() {
		return err
	}
	return fault.Of(node.ErrDamaged, "the home %s is damaged: weft doctor --repair rebuilds what it can", a.home)
}

func (a *app) diagnosis(ctx context.Context) (d node.Diagnosis, err error) {
	c, err := a.open(ctx)
	if fault.Is(err, fault.Corrupt) { // the store as a whole
		now := time.Now().UTC()
		return node.Diagnosis{Began: now, Ended: now, Databases: []node.DatabaseDiagnosis{}, Damage: []string{strings.ReplaceAll(err.Error(), ": run weft doctor", "")}}, nil
	}
	if err != nil {
		return d, err
	}
	defer func() {
		if cerr := c.Close(); err == nil && !fault.Is(cerr, fault.Corrupt) {
			err = cerr
		}
	}()
	return receiveDiagnosis(ctx, c)
}

func receiveDiagnosis(ctx context.Context, c *client.Client) (d node.Diagnosis, err error) {
	s, err := c.Node.Check(ctx, connect.NewRequest(&weftv1.CheckRequest{}))
	if err != nil {
		return d, err
	}
	whole := false
	for s.Receive() {
		if text := s.Msg().GetDiagnosis(); len(text) > 0 {
			if err := json.Unmarshal(text, &d); err != nil {
				return d, err
			}
			whole = true
		}
	}
	if err := s.Err(); err != nil {
		return d, err
	}
	if !whole {
		return d, node.ErrClosed
	}
	return d, s.Close()
}

func writeDiagnosis(w io.Writer, d node.Diagnosis) {
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
		table(w, rows...)
	}
	// A file that several databases are in is said once.
	var order []string
	of := map[string][]string{}
	for _, b := range slices.Concat(d.Databases, d.Kept) {
		for _, what := range b.Damage {
			if of[what] == nil {
				order = append(order, what)
			}
			of[what] = append(of[what], nameOf(b.Name, b.ID))
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
		writeLacks(w, nameOf(b.Name, b.ID), b.Lacks)
	}
	if d.Whole() {
		what := "nothing"
		if d.Lacking() {
			what = "nothing else"
		}
		fmt.Fprintf(w, "checked %s in %s: %s is damaged\n", size(d.Bytes), d.Ended.Sub(d.Began).Round(time.Millisecond), what)
	}
}

// nameOf names a database, or a thread that is kept for others.
func nameOf(name, id string) string {
	if name == "" {
		return "thread " + id + ", kept for others"
	}
	return tty.Printable(name)
}

// writeLacks tells which blocks of files are damaged and have not come back.
func writeLacks(w io.Writer, name string, lacks []node.Lack) {
	for _, l := range lacks {
		what := "blob " + l.ID
		if len(l.Files) > 0 {
			what += ", of " + tty.Printable(l.String())
		}
		fmt.Fprintf(w, "%s lacks %s, damaged since %s: it comes back from a peer that has it, or when the file is pushed again\n",
			name, what, l.Since.Format(time.DateOnly))
	}
}

// repair rebuilds what is damaged. It opens the home itself.
func (a *app) repair(ctx context.Context, o node.RepairOptions) error {
	if a.api != "" {
		return usagef("a repair needs the home for itself: stop the daemon, and omit --api and WEFT_API")
	}
	o.Home = a.home
	o.Tell = func(text string) { fmt.Fprintln(a.err, text) }
	var r node.Repair
	err := a.unseal(ctx, func() (err error) {
		o.Passphrase = a.passphrase
		r, err = node.RepairHome(ctx, o)
		return err
	})
	if err != nil {
		return err
	}
	if err := a.print(r, func(w io.Writer) { writeRepair(w, r) }); err != nil || r.Whole() {
		return err
	}
	if slices.ContainsFunc(r.Databases, func(d node.RebuiltDatabase) bool { return !d.Served }) {
		return fault.Of(node.ErrDamaged, "not everything is back: what did not come from a relay or a member comes when the node runs and one is reached; --as-is serves what is here")
	}
	if r.OnlyLacks() {
		return fault.Of(node.ErrDamaged, "not everything is back: what is lacking comes when the node runs and a peer that has it is reached, or when the file is pushed again")
	}
	return fault.Of(node.ErrDamaged, "everything is served again, but not everything is known to be back: restore a backup if that has more, else go on")
}

func writeRepair(w io.Writer, r node.Repair) {
	for _, what := range r.Unread {
		fmt.Fprintf(w, "could not be read: %s\n", what)
	}
	for _, b := range r.Databases {
		writeRebuilt(w, b)
	}
	for _, t := range r.Threads {
		switch {
		case t.Uncertain:
			fmt.Fprintf(w, "%s, may have lost its last records and files: a repair does not fetch them; start weft daemon --relay, and devices give them again when they connect\n", nameOf("", t.ID))
		case len(t.Lacks) == 0:
			fmt.Fprintf(w, "%s is whole again\n", nameOf("", t.ID))
		}
		writeLacks(w, nameOf("", t.ID), t.Lacks)
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
	here := count(b.Records, "record")
	gone := fmt.Sprintf("%d of the %s that this device had written", b.Gone, count(int64(b.Noted), "record"))
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
	writeLacks(w, b.Name, b.Lacks)
}

// checkEngine checks the engine that a command line names.
func checkEngine(name string) error {
	if name == "" {
		return usagef("missing --engine: want one of %s", strings.Join(node.Engines(), ", "))
	}
	if !slices.Contains(node.Engines(), name) {
		return usagef("invalid --engine %.40q: want one of %s", name, strings.Join(node.Engines(), ", "))
	}
	return nil
}

func (a *app) homeCommand() *cobra.Command {
	return newParent("home", "Manage the data folder", a.homeConvert())
}

func (a *app) homeConvert() *cobra.Command {
	var engine string
	cmd := &cobra.Command{
		Use: "convert", Short: "Move the home's store to another engine", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkEngine(engine); err != nil {
				return err
			}
			if err := a.existing(); err != nil {
				return err
			}
			was, err := node.ConvertHome(cmd.Context(), a.home, engine)
			if err != nil {
				return err
			}
			out := struct {
				Home   string `json:"home"`
				Was    string `json:"was"`
				Engine string `json:"engine"`
			}{a.home, was, engine}
			return a.print(out, func(w io.Writer) {
				if was == engine {
					fmt.Fprintf(w, "the store of %s has engine %s already\n", a.home, engine)
					return
				}
				fmt.Fprintf(w, "the store of %s has engine %s now, it had %s\n", a.home, engine, was)
			})
		},
	}
	cmd.Flags().StringVar(&engine, "engine", "", "engine to move to: "+strings.Join(node.Engines(), ", "))
	return cmd
}
