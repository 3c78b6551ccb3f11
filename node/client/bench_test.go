package client

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

// Both ways of a call, for benchmarks.
var ways = []string{"alone", "daemon"}

// openWay opens a client of a new home, with a daemon or without one.
func openWay(b *testing.B, way string) *Client {
	b.Helper()
	home := filepath.Join(b.TempDir(), "home")
	if way == "daemon" {
		n, err := node.Open(b.Context(), node.Config{Home: home, Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0")}})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := n.Close(); err != nil {
				b.Error(err)
			}
		})
	}
	c, err := Open(b.Context(), Options{Home: home})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	return c
}

// folder makes a folder of random files, a hundred to a folder.
func folder(b *testing.B, files, size int) string {
	b.Helper()
	dir := b.TempDir()
	data := make([]byte, size)
	for i := range files {
		_, _ = rand.Read(data)
		name := filepath.Join(dir, fmt.Sprintf("d%03d", i/100), fmt.Sprint(i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, data, 0o600)); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

func pushFolder(b *testing.B, c *Client, bucket, dir string) {
	b.Helper()
	_, err := c.Buckets.Create(b.Context(), connect.NewRequest(&weftv1.CreateBucketRequest{Name: bucket}))
	if err == nil {
		_, err = c.Push(b.Context(), bucket, os.DirFS(dir), false, io.Discard)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBucket pushes a file of 256 MiB and 10,000 files of 4 KiB, and reads
// them back.
func BenchmarkBucket(b *testing.B) {
	for _, shape := range []struct {
		name        string
		files, size int
	}{{"large", 1, 256 << 20}, {"small", 10_000, 4 << 10}} {
		dir := folder(b, shape.files, shape.size)
		report := func(b *testing.B) {
			b.ReportMetric(float64(shape.files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
		}
		for _, way := range ways {
			b.Run("push/"+shape.name+"/"+way, func(b *testing.B) {
				b.SetBytes(int64(shape.files) * int64(shape.size))
				for b.Loop() {
					b.StopTimer()
					c := openWay(b, way) // what a thread has is not stored again
					b.StartTimer()
					pushFolder(b, c, "bucket", dir)
				}
				report(b)
			})
			b.Run("pull/"+shape.name+"/"+way, func(b *testing.B) {
				c := openWay(b, way)
				pushFolder(b, c, "bucket", dir)
				b.SetBytes(int64(shape.files) * int64(shape.size))
				for b.Loop() {
					b.StopTimer()
					to := b.TempDir()
					b.StartTimer()
					if _, err := c.Pull(b.Context(), "bucket", to, func(int, int64) {}); err != nil {
						b.Fatal(err)
					}
				}
				report(b)
			})
			if shape.files > 1 {
				continue
			}
			b.Run("cat/"+way, func(b *testing.B) {
				c := openWay(b, way)
				pushFolder(b, c, "bucket", dir)
				b.SetBytes(int64(shape.size))
				for b.Loop() {
					s, err := c.Buckets.Cat(b.Context(), connect.NewRequest(&weftv1.CatRequest{Bucket: "bucket", Path: "d000/0", Length: -1}))
					if err != nil {
						b.Fatal(err)
					}
					for s.Receive() {
					}
					if err := errors.Join(s.Err(), s.Close()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
