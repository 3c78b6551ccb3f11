package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	"github.com/weftdb/weft/cmd/weft/internal/rescue"
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
			"rebuilt from its own log, else from its relays and members. The damaged store is kept beside the new one, and the\n" +
			"documents that could be read before, if the repair leaves fewer, in a file that weft import takes. Files' blocks\n" +
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
	if err := a.print(d, func(w io.Writer) { report.WriteDiagnosis(w, d) }); err != nil || d.Whole() {
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

// repair rebuilds what is damaged. It opens the home itself.
func (a *app) repair(ctx context.Context, o node.RepairOptions) error {
	if a.api != "" {
		return usagef("a repair needs the home for itself: stop the daemon, and omit --api and WEFT_API")
	}
	o.Home = a.home
	o.Tell = func(text string) { fmt.Fprintln(a.err, text) }
	var files rescue.Files
	o.Rescue = func(ctx context.Context, n *node.Node, databases []string) (err error) {
		files, err = rescue.Write(ctx, n, databases, filepath.Join(a.home, "rescued-"+time.Now().UTC().Format("20060102T150405Z")))
		return err
	}
	var r node.Repair
	err := a.unseal(ctx, func() (err error) {
		o.Passphrase = a.passphrase
		r, err = node.RepairHome(ctx, o)
		return err
	})
	if err != nil {
		return err
	}
	if err := files.Keep(r); err != nil {
		return err
	}
	out := struct {
		node.Repair
		Rescued rescue.Files `json:"rescued,omitempty"`
	}{r, files}
	if err := a.print(out, func(w io.Writer) { report.WriteRepair(w, r); files.Report(w) }); err != nil || r.Whole() {
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
