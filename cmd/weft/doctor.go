package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

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
			"what is folded of them, files, and whether all is there that was. The exit status is 1 if something is damaged.\n\n" +
			"With --repair, which needs the home for itself, what can be read goes into a new store, and each damaged database is\n" +
			"rebuilt from its own log, else from its relays and members. The damaged store is kept beside the new one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !repair && (o.AsIs || cmd.Flags().Changed("wait")) {
				return usagef("--wait and --as-is go with --repair")
			}
			if repair {
				return a.repair(cmd.Context(), o)
			}
			return a.examine(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&repair, "repair", false, "rebuild what is damaged")
	f.DurationVar(&o.Wait, "wait", 2*time.Minute, "how long to wait for relays and members to give what is not here")
	f.BoolVar(&o.AsIs, "as-is", false, "serve what is left here, without waiting for relays and members")
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
		return node.Diagnosis{Began: now, Ended: now, Databases: []node.DatabaseDiagnosis{}, Damage: []string{err.Error()}}, nil
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
		}
		rows = append(rows, []string{b.Name, state, fmt.Sprint(b.Records), fmt.Sprint(b.Blobs), b.Hash})
	}
	table(w, rows...)
	for _, b := range d.Databases {
		for _, what := range b.Damage {
			fmt.Fprintf(w, "%s: %s\n", b.Name, what)
		}
	}
	for _, what := range d.Damage {
		fmt.Fprintf(w, "%s\n", what)
	}
	if d.Whole() {
		fmt.Fprintf(w, "checked %s in %s: nothing is damaged\n", size(d.Bytes), d.Ended.Sub(d.Began).Round(time.Millisecond))
	}
}

// repair rebuilds what is damaged. It opens the home itself.
func (a *app) repair(ctx context.Context, o node.RepairOptions) error {
	if a.api != "" {
		return usagef("a repair needs the home for itself: stop the daemon, and omit --api and WEFT_API")
	}
	o.Home, o.Log = a.home, slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
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
	return fault.Of(node.ErrDamaged, "not everything is back: what did not come from a relay or a member comes when the node runs and one is reached; --as-is serves what is here")
}

func writeRepair(w io.Writer, r node.Repair) {
	if r.Kept == "" && len(r.Databases) == 0 {
		fmt.Fprintln(w, "nothing is damaged: nothing was done")
		return
	}
	if len(r.Databases) == 0 {
		fmt.Fprintln(w, "every database is whole in the new store")
	}
	for _, b := range r.Databases {
		switch {
		case b.Served && len(b.Lost) == 0:
			fmt.Fprintf(w, "%s is back: hash %s, %s were still here\n", b.Name, b.Hash, count(b.Records, "record"))
		case b.Served:
			fmt.Fprintf(w, "%s is served again without what is lost: hash %s, %s were still here\n", b.Name, b.Hash, count(b.Records, "record"))
		case len(b.Lost) == 0:
			fmt.Fprintf(w, "%s waits for a relay or a member: %s were still here\n", b.Name, count(b.Records, "record"))
		}
		if len(b.Lost) > 0 {
			fmt.Fprintf(w, "%s has lost %s\n", b.Name, strings.Join(b.Lost, "; "))
		}
	}
	for _, what := range r.Lost {
		fmt.Fprintf(w, "lost: %s\n", what)
	}
	for _, what := range r.Unread {
		fmt.Fprintf(w, "could not be read: %s\n", what)
	}
	if r.Kept != "" {
		fmt.Fprintf(w, "the damaged store is kept at %s: remove it when you do not need it\n", r.Kept)
	}
}

func (a *app) homeCommand() *cobra.Command {
	return newGroup("home", "Manage the data folder", a.homeConvert())
}

func (a *app) homeConvert() *cobra.Command {
	var engine string
	cmd := &cobra.Command{
		Use: "convert", Short: "Move the home's store to another engine", Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if engine == "" {
				return usagef("convert to which engine? give --engine %s", strings.Join(node.Engines(), ", "))
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
