package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node/client"
)

func (a *app) bucketCommand() *cobra.Command {
	return newParent("bucket", "Manage buckets, which are folders of files", a.bucketCreate(), a.bucketList(), a.bucketRoot(), a.bucketPush(), a.bucketPull(), a.bucketCat(), a.bucketRemove())
}

type bucketOutput struct {
	Name     string `json:"name"`
	Database string `json:"database"`
}

func (a *app) bucketCreate() *cobra.Command {
	var database string
	cmd := a.newCommand("create NAME", "Create a bucket, in a database of its own unless --db names one", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Buckets.Create(ctx, connect.NewRequest(&weftv1.CreateBucketRequest{Name: args[0], Database: database}))
			if err != nil {
				return err
			}
			out := bucketOutput{r.Msg.GetBucket().GetName(), r.Msg.GetBucket().GetDatabase()}
			return a.print(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s in database %s\n", tty.Printable(out.Name), tty.Printable(out.Database))
			})
		})
	cmd.Flags().StringVar(&database, "db", "", "database that holds the bucket")
	a.completeDatabase(cmd, "db")
	return cmd
}

func (a *app) bucketList() *cobra.Command {
	return a.newCommand("ls [NAME [PREFIX]]", "List the buckets, or the files in one", 0, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) > 0 {
				return a.listEntries(ctx, c, args[0], append(args, "")[1])
			}
			r, err := c.Buckets.List(ctx, connect.NewRequest(&weftv1.ListBucketsRequest{}))
			if err != nil {
				return err
			}
			out := []bucketOutput{}
			for _, b := range r.Msg.GetBuckets() {
				out = append(out, bucketOutput{b.GetName(), b.GetDatabase()})
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"NAME", "DATABASE"}}
				for _, b := range out {
					rows = append(rows, []string{b.Name, b.Database})
				}
				words.Table(w, rows...)
			})
		})
}

func (a *app) listEntries(ctx context.Context, c *client.Client, bucket, prefix string) error {
	r, err := c.Buckets.Entries(ctx, connect.NewRequest(&weftv1.BucketEntriesRequest{Bucket: bucket, Prefix: prefix}))
	if err != nil {
		return err
	}
	type entry struct {
		Path      string   `json:"path"`
		CID       string   `json:"cid"`
		Size      int64    `json:"size"`
		Conflicts []string `json:"conflicts,omitempty"`
	}
	if prefix != "" && len(r.Msg.GetEntries()) == 0 {
		return fault.Of(client.ErrNotFound, "bucket %s has no path that begins with %s", bucket, tty.Printable(prefix))
	}
	out := []entry{}
	for _, e := range r.Msg.GetEntries() {
		out = append(out, entry{e.GetPath(), e.GetCid(), e.GetSize(), e.GetConflicts()})
	}
	return a.print(out, func(w io.Writer) {
		rows := [][]string{{"PATH", "SIZE", "CID"}}
		for _, e := range out {
			rows = append(rows, []string{e.Path, fmt.Sprint(e.Size), e.CID})
		}
		words.Table(w, rows...)
	})
}

func (a *app) bucketRoot() *cobra.Command {
	return a.newCommand("root NAME", "Print the root CID of a bucket's UnixFS DAG", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			r, err := c.Buckets.Root(ctx, connect.NewRequest(&weftv1.BucketRootRequest{Bucket: args[0]}))
			if err != nil {
				return err
			}
			out := struct {
				CID       string       `json:"cid"`
				Files     int64        `json:"files"`
				Bytes     int64        `json:"bytes"`
				Conflicts []noteOutput `json:"conflicts,omitempty"`
			}{r.Msg.GetCid(), r.Msg.GetFiles(), r.Msg.GetBytes(), notesOf(r.Msg.GetConflicts())}
			return a.print(out, func(w io.Writer) { fmt.Fprintln(w, out.CID) })
		})
}

type noteOutput struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

func notesOf(in []*weftv1.BucketNote) []noteOutput {
	var out []noteOutput
	for _, x := range in {
		out = append(out, noteOutput{x.GetPath(), x.GetReason()})
	}
	return out
}

// A pushOutput says what a push did, in files.
type pushOutput struct {
	Root      string       `json:"root"`
	Added     int64        `json:"added"`
	Changed   int64        `json:"changed"`
	Unchanged int64        `json:"unchanged"`
	Removed   int64        `json:"removed"`
	Bytes     int64        `json:"bytes"`
	Skipped   []noteOutput `json:"skipped,omitempty"`
}

func (a *app) bucketPush() *cobra.Command {
	var remove bool
	cmd := a.newCommand("push NAME DIR", "Store the files of a folder in a bucket", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			root, err := client.OpenDir(args[1])
			if err != nil {
				return err
			}
			defer func() { _ = root.Close() }() // it was only read
			m, err := c.Push(ctx, args[0], root.FS(), remove, a.progress(-1, "push"))
			if err != nil {
				return err
			}
			out := pushOutput{
				m.GetRoot(), m.GetAdded(), m.GetChanged(), m.GetUnchanged(), m.GetRemoved(), m.GetBytes(), notesOf(m.GetSkipped()),
			}
			return a.print(out, func(w io.Writer) {
				printNotes(w, "left out", out.Skipped)
				fmt.Fprintf(w, "%d added, %d changed, %d unchanged, %d removed\nroot %s\n", out.Added, out.Changed, out.Unchanged, out.Removed, out.Root)
			})
		})
	cmd.Flags().BoolVar(&remove, "remove", false, "remove files from the bucket that the folder does not have")
	return cmd
}

func printNotes(w io.Writer, what string, notes []noteOutput) {
	for _, s := range notes {
		fmt.Fprintf(w, "%s %s: %s\n", what, tty.Printable(s.Path), tty.Printable(s.Reason))
	}
}

// parseRange reads "A-B", both included, or "A-", or "-N", the last N bytes
// of a file of some size.
func parseRange(s string, size func() (int64, error)) (offset, length int64, err error) {
	bad := usagef("invalid --range %q: want A-B, A- or -N", s)
	first, last, ok := strings.Cut(s, "-")
	if !ok || first == "" && last == "" {
		return 0, 0, bad
	}
	if first == "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			return 0, 0, bad
		}
		total, err := size()
		return max(0, total-n), -1, err
	}
	if offset, err = strconv.ParseInt(first, 10, 64); err != nil || offset < 0 {
		return 0, 0, bad
	}
	if last == "" {
		return offset, -1, nil
	}
	end, err := strconv.ParseInt(last, 10, 64)
	if err != nil || end < offset {
		return 0, 0, bad
	}
	return offset, end - offset + 1, nil
}

func (a *app) bucketCat() *cobra.Command {
	var part string
	cmd := a.newCommand("cat NAME PATH", "Print a file, or a range of it", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) (err error) {
			m := &weftv1.CatRequest{Bucket: args[0], Path: args[1], Length: -1}
			if part != "" {
				size := func() (int64, error) { return a.fileSize(ctx, c, args[0], args[1]) }
				if m.Offset, m.Length, err = parseRange(part, size); err != nil {
					return err
				}
			}
			stream, err := c.Buckets.Cat(ctx, connect.NewRequest(m))
			if err != nil {
				return err
			}
			for stream.Receive() {
				if _, err := a.bytes().Write(stream.Msg().GetData()); err != nil {
					return errors.Join(err, stream.Close())
				}
			}
			return errors.Join(stream.Err(), stream.Close())
		})
	cmd.Flags().StringVar(&part, "range", "", "bytes A-B (inclusive), A- or the last -N")
	return cmd
}

func (a *app) fileSize(ctx context.Context, c *client.Client, bucket, name string) (int64, error) {
	r, err := c.Buckets.Entries(ctx, connect.NewRequest(&weftv1.BucketEntriesRequest{Bucket: bucket, Prefix: name}))
	if err != nil {
		return 0, err
	}
	for _, e := range r.Msg.GetEntries() {
		if e.GetPath() == name {
			return e.GetSize(), nil
		}
	}
	return 0, fault.Of(client.ErrNotFound, "bucket %s has no file %s", bucket, name)
}

func (a *app) bucketRemove() *cobra.Command {
	cmd := a.newCommand("rm NAME [PATH…]", "Remove files from a bucket, or without PATH the bucket", 1, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) == 1 {
				if _, err := c.Buckets.Drop(ctx, connect.NewRequest(&weftv1.DropBucketRequest{Bucket: args[0]})); err != nil {
					return err
				}
				return a.print(struct{}{}, func(io.Writer) {})
			}
			r, err := c.Buckets.Remove(ctx, connect.NewRequest(&weftv1.RemoveFilesRequest{Bucket: args[0], Paths: args[1:]}))
			if err != nil {
				return err
			}
			n := r.Msg.GetRemoved()
			return a.print(map[string]int64{"removed": n}, func(w io.Writer) { fmt.Fprintf(w, "%d removed\n", n) })
		})
	cmd.Long = cmd.Short + `.

They go from the bucket of everybody who has its database, and not from folders that were pulled.
A PATH that ends in / is a folder, with all that is in it. The database of a bucket stays; the disk
space comes back by weft db compact.`
	return cmd
}

// A pullOutput says what a pull did, in files; files and bytes are of all that
// the folder now has of the bucket.
type pullOutput struct {
	Files     int64        `json:"files"`
	Bytes     int64        `json:"bytes"`
	Added     int64        `json:"added"`
	Changed   int64        `json:"changed"`
	Unchanged int64        `json:"unchanged"`
	Skipped   []noteOutput `json:"skipped,omitempty"`
	Kept      []noteOutput `json:"kept,omitempty"`
}

func (a *app) bucketPull() *cobra.Command {
	return a.newCommand("pull NAME DIR", "Write the files of a bucket into a folder", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			var out pullOutput
			bar := a.progress(-1, "pull")
			r, err := c.Pull(ctx, args[0], args[1], func(files int, bytes int64) {
				_ = bar.Add64(bytes - out.Bytes) // for people only
				out.Files, out.Bytes = int64(files), bytes
			})
			if err != nil {
				return err
			}
			out.Added, out.Changed, out.Unchanged = int64(r.Added), int64(r.Changed), int64(r.Unchanged)
			for _, x := range r.Skipped {
				out.Skipped = append(out.Skipped, noteOutput(x))
			}
			for _, x := range r.Kept {
				out.Kept = append(out.Kept, noteOutput(x))
			}
			return a.print(out, func(w io.Writer) {
				printNotes(w, "left out", out.Skipped)
				printNotes(w, "kept", out.Kept)
				fmt.Fprintf(w, "%s, %s: %d added, %d changed, %d unchanged\n",
					words.Count(out.Files, "file"), words.Count(out.Bytes, "byte"), out.Added, out.Changed, out.Unchanged)
			})
		})
}
