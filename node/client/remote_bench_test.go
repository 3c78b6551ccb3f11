package client

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
	"github.com/weftdb/weft/node/rpc"
)

// benchHub returns a hub and clients of it: by the administrator's token, by an account key's with
// and without a proof, and as a user that it hosts.
func benchHub(b *testing.B) (n *node.Node, by map[string]*Client) {
	b.Helper()
	remote, err := rpc.Remote(rpc.RemoteOptions{Addr: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	if n, err = node.Open(b.Context(), node.Config{Home: filepath.Join(b.TempDir(), "home"), Relay: true, Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0"), remote}}); err != nil {
		b.Fatal(err)
	}
	at := "http://" + n.SurfaceAddr(node.SurfaceRemote)
	_, account, err1 := n.CreateKey(node.KeyOptions{Kind: keys.KindAccount})
	_, group, err2 := n.CreateKey(node.KeyOptions{Kind: keys.KindUser})
	local, err3 := dial(n.SurfaceAddr(node.SurfaceAPI), n.Home())
	bound, err4 := OpenRemote(RemoteOptions{URL: at, Secret: account})
	bearer, err5 := OpenRemote(RemoteOptions{URL: at, Secret: account, Bearer: true})
	user := keys.NewIdentity()
	hosted, err6 := OpenRemote(RemoteOptions{URL: at, User: user, Bearer: true, Grant: func(_ context.Context, hub keys.PublicKey) (*keys.Grant, error) {
		return group.Grant(keys.GrantOptions{User: user.Public(), Audience: hub, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
	}})
	for _, err := range []error{err1, err2, err3, err4, err5, err6} {
		if err != nil {
			b.Fatal(err)
		}
	}
	by = map[string]*Client{"local": local, "bound": bound, "bearer": bearer, "hosted": hosted}
	b.Cleanup(func() {
		for _, c := range by {
			_ = c.Close()
		}
		if err := n.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := hosted.Delegate(b.Context(), user); err != nil {
		b.Fatal(err)
	}
	for _, c := range []*Client{local, hosted} {
		if _, err := c.Databases.Create(b.Context(), connect.NewRequest(&weftv1.CreateDatabaseRequest{Name: "bench"})); err != nil {
			b.Fatal(err)
		}
	}
	return n, by
}

// What a token, and a proof of it, add to a call with 4 KiB.
func BenchmarkRemoteCall(b *testing.B) {
	_, by := benchHub(b)
	filter := document(bson.D{{Key: "x", Value: strings.Repeat("x", 4<<10)}})
	for _, name := range []string{"local", "bearer", "bound"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := by[name].Documents.Count(b.Context(), connect.NewRequest(&weftv1.CountRequest{Database: "bench", Collection: "c", Filter: filter}))
				for connect.CodeOf(err) == connect.CodeResourceExhausted || err != nil && strings.Contains(err.Error(), "too many requests") { // it is faster than one user may be
					_, err = by[name].Documents.Count(b.Context(), connect.NewRequest(&weftv1.CountRequest{Database: "bench", Collection: "c", Filter: filter}))
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Inserts of documents, 32 in flight, each acknowledged when it is durable: in this process, and at
// a hub as a user.
func BenchmarkRemoteInsert(b *testing.B) {
	n, by := benchHub(b)
	d, err := n.Database(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	var id atomic.Int64
	doc := func() []byte {
		return document(bson.D{{Key: "_id", Value: id.Add(1)}, {Key: "x", Value: strings.Repeat("x", 200)}})
	}
	insert := map[string]func(ctx context.Context) error{
		"embedded": func(ctx context.Context) error {
			_, err := d.Collection("e").Insert(ctx, bson.Raw(doc()))
			return err
		},
		"hosted": func(ctx context.Context) error {
			_, err := by["hosted"].Documents.Insert(ctx, connect.NewRequest(&weftv1.InsertRequest{Database: "bench", Collection: "h", Documents: [][]byte{doc()}}))
			return err
		},
	}
	for _, name := range []string{"embedded", "hosted"} {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(16)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := insert[name](b.Context()); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// Right calls while somebody else asks with wrong tokens, as fast as it can.
func BenchmarkRemoteFlood(b *testing.B) {
	n, by := benchHub(b)
	call := func(b *testing.B) {
		for b.Loop() {
			if _, err := by["local"].Databases.List(b.Context(), connect.NewRequest(&weftv1.ListDatabasesRequest{})); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("quiet", call)
	b.Run("flood", func(b *testing.B) {
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan int)
		go func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			asked, tick := 0, time.NewTicker(time.Millisecond) // 1,000 a second
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					done <- asked
					return
				case <-tick.C:
				}
				r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.SurfaceAddr(node.SurfaceRemote)+weftv1connect.DatabaseServiceListProcedure, strings.NewReader("{}"))
				if err != nil {
					continue
				}
				r.Header.Set("Authorization", "Bearer wt"+strings.Repeat("a", 52))
				if res, err := tr.RoundTrip(r); err == nil {
					_ = res.Body.Close()
					asked++
				}
			}
		}()
		call(b)
		stop()
		b.ReportMetric(float64(<-done)/b.Elapsed().Seconds(), "wrong/s")
	})
}
