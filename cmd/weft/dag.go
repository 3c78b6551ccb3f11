package main

import (
	"context"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/client"
)

func (a *app) dagCommand() *cobra.Command {
	return newParent("dag", "Inspect the DAGs of buckets", a.dagGet())
}

// dagGet prints the same with --json: DAG-JSON is JSON.
func (a *app) dagGet() *cobra.Command {
	var r weftv1.BucketNodeRequest
	cmd := a.newCommand("get CID[/PATH]", "Print a node of a bucket's DAG as DAG-JSON", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if r.MaxNodes < 0 || r.MaxBytes < 0 {
				return usagef("a budget cannot be negative")
			}
			r.Cid, r.Path, _ = strings.Cut(strings.TrimPrefix(args[0], "/ipfs/"), "/")
			reply, err := c.Buckets.Node(ctx, connect.NewRequest(&r))
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", reply.Msg.GetDagJson())
			return err
		})
	f := cmd.Flags()
	f.StringVar(&r.Bucket, "bucket", "", "bucket to look in, NAME or DATABASE/NAME (default all)")
	f.Int64Var(&r.MaxNodes, "max-nodes", 100_000, "look at no more than N nodes")
	f.Int64Var(&r.MaxBytes, "max-bytes", 64<<20, "look at no more than N bytes of nodes")
	return cmd
}
