package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a stream of the matrix is about.
const (
	nowhere = "nowhere" // is not there: refused early
	hurt    = "hurt"    // fails after much was sent: refused late
	small   = "small"   // a byte
	large   = "large"   // 50 MB
)

// A call is one stream to its end. It tells how many bytes came or were sent, as
// they do, and returns them all.
type call func(ctx context.Context, c *Client, what string, flow func(int64)) (int64, error)

// A streaming is how the matrix calls one streaming procedure.
type streaming struct {
	call
	hurt    fault.Kind // of a late refusal; "" where nothing can be refused late
	little  bool       // its answers are small by nature: there are none of 50 MB
	endless bool       // only its caller ends it
	whole   bool       // it is about the node, so it cannot be about what is not there
}

// streamings has every streaming procedure of the API.
var streamings = map[string]streaming{
	weftv1connect.NodeServiceBackupProcedure: {hurt: fault.Corrupt, whole: true, call: received(func(ctx context.Context, c *Client, _ string) (*connect.ServerStreamForClient[weftv1.BackupResponse], error) {
		return c.Node.Backup(ctx, connect.NewRequest(&weftv1.BackupRequest{}))
	})},
	weftv1connect.NodeServiceCheckProcedure: {little: true, whole: true, call: received(func(ctx context.Context, c *Client, _ string) (*connect.ServerStreamForClient[weftv1.CheckResponse], error) {
		return c.Node.Check(ctx, connect.NewRequest(&weftv1.CheckRequest{}))
	})},
	weftv1connect.DatabaseServiceWatchStatusProcedure: {little: true, endless: true, call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.DatabaseStatusResponse], error) {
		return c.Databases.WatchStatus(ctx, connect.NewRequest(&weftv1.DatabaseStatusRequest{Name: what}))
	})},
	weftv1connect.DocumentServiceFindProcedure: {hurt: fault.BadValue, call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.FindResponse], error) {
		m := &weftv1.FindRequest{Database: what, Collection: "things"}
		if what == hurt {
			m.Database = large
			m.Filter = document(bson.D{{Key: "$expr", Value: bson.D{{Key: "$gt", Value: bson.A{bson.D{{Key: "$divide", Value: bson.A{1, "$left"}}}, 0}}}}})
		}
		return c.Documents.Find(ctx, connect.NewRequest(m))
	})},
	weftv1connect.DocumentServiceImportProcedure: {hurt: fault.InvalidArgument, call: imported},
	weftv1connect.DocumentServiceExportProcedure: {call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.ExportResponse], error) {
		return c.Documents.Export(ctx, connect.NewRequest(&weftv1.ExportRequest{Database: what}))
	})},
	weftv1connect.DocumentServiceWatchProcedure: {endless: true, call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.WatchResponse], error) {
		m := &weftv1.WatchRequest{Database: what}
		if what == large {
			m.ResumeAfter = beforeLarge
		}
		return c.Documents.Watch(ctx, connect.NewRequest(m))
	})},
	weftv1connect.DocumentServiceRefusedProcedure: {little: true, call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.RefusedResponse], error) {
		return c.Documents.Refused(ctx, connect.NewRequest(&weftv1.RefusedRequest{Database: what}))
	})},
	weftv1connect.BucketServicePushProcedure: {hurt: fault.TooLarge, call: pushed},
	weftv1connect.BucketServiceCatProcedure: {hurt: fault.Altered, call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.CatResponse], error) {
		return c.Buckets.Cat(ctx, connect.NewRequest(&weftv1.CatRequest{Bucket: what, Path: "file", Length: -1}))
	})},
	weftv1connect.BucketServicePullProcedure: {hurt: fault.Altered, call: received(func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[weftv1.PullResponse], error) {
		return c.Buckets.Pull(ctx, connect.NewRequest(&weftv1.PullRequest{Bucket: what}))
	})},
	weftv1connect.InboxServiceWatchProcedure: {little: true, endless: true, whole: true, call: received(func(ctx context.Context, c *Client, _ string) (*connect.ServerStreamForClient[weftv1.WatchInboxResponse], error) {
		return c.Inbox.Watch(ctx, connect.NewRequest(&weftv1.WatchInboxRequest{}))
	})},
}

// Each stream of the API ends with its reason or its result, whenever it is
// refused, by whomever it is ended and whatever its size, by a daemon and
// without one.
func TestEveryStreamEnds(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home")
	c, err := Open(t.Context(), Options{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	furnish(t, c, home)
	wrong, err := keys.SecretOf([]byte("wrong"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("alone", func(t *testing.T) {
		streamMatrix(t, c, newClient("http://localhost", &authorized{next: newHandlerTransport(rpc.Handler(c.local)), token: wrong}))
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), node.Config{Home: home, Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0")}})
	if err != nil {
		t.Fatal(err)
	}
	if c, err = Open(t.Context(), Options{Home: home}); err != nil {
		t.Fatal(err)
	}
	stranger := newClient("http://"+n.SurfaceAddr(node.SurfaceAPI), &authorized{next: newDaemonTransport(), token: wrong})
	t.Run("daemon", func(t *testing.T) { streamMatrix(t, c, stranger) })
	if err := errors.Join(c.Close(), stranger.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
}

func streamMatrix(t *testing.T, c, stranger *Client) {
	services := weftv1.File_weft_v1_weft_proto.Services()
	for i := range services.Len() {
		for j := range services.Get(i).Methods().Len() {
			m := services.Get(i).Methods().Get(j)
			if !m.IsStreamingClient() && !m.IsStreamingServer() {
				continue
			}
			name := fmt.Sprintf("/%s/%s", services.Get(i).FullName(), m.Name())
			s, ok := streamings[name]
			if !ok {
				t.Errorf("the matrix does not have %s", name)
				continue
			}
			t.Run(string(m.Name()), func(t *testing.T) { s.matrix(t, c, stranger) })
		}
	}
}

func (s streaming) matrix(t *testing.T, c, stranger *Client) {
	size := large
	if s.little {
		size = small
	}
	// run makes a call, which its caller ends when as many bytes flowed; a
	// negative number never does.
	run := func(t *testing.T, c *Client, what string, enough int64) (int64, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		n, err := s.call(ctx, c, what, func(n int64) {
			if enough >= 0 && n >= enough {
				cancel()
			}
		})
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			t.Fatal("it hangs")
		}
		return n, err
	}
	refused := func(t *testing.T, c *Client, what string, want fault.Kind) {
		t.Helper()
		if _, err := run(t, c, what, -1); fault.KindOf(err) != want {
			t.Errorf("got %v (%s), want %s", err, fault.KindOf(err), want)
		}
	}
	t.Run("stranger", func(t *testing.T) { refused(t, stranger, size, fault.PermissionDenied) })
	if !s.whole {
		t.Run("refused early", func(t *testing.T) { refused(t, c, nowhere, fault.NotFound) })
	}
	if s.hurt != "" {
		t.Run("refused late", func(t *testing.T) {
			mend := cutLeaf(t)
			refused(t, c, hurt, s.hurt)
			mend()
			if s.hurt != fault.Altered && s.hurt != fault.Corrupt {
				return // it has nothing to do with the leaf
			}
			if _, err := run(t, c, hurt, -1); err != nil {
				t.Errorf("when the bytes are back: %v", err)
			}
		})
	}
	t.Run("canceled", func(t *testing.T) {
		if _, err := run(t, c, size, 0); !errors.Is(err, context.Canceled) && (err != nil || !s.little || s.endless) {
			t.Errorf("got %v", err)
		}
	})
	for what, least := range map[string]int64{small: 0, large: largeBytes} {
		if what == large && s.little {
			continue
		}
		t.Run(what, func(t *testing.T) {
			enough := int64(-1)
			if s.endless {
				enough = least
			}
			n, err := run(t, c, what, enough)
			if err != nil && (!s.endless || !errors.Is(err, context.Canceled)) {
				t.Fatal(err)
			}
			if n < least {
				t.Errorf("got %d bytes, want %d", n, least)
			}
		})
	}
}

// received makes a call of a procedure that streams its answers.
func received[T any](open func(ctx context.Context, c *Client, what string) (*connect.ServerStreamForClient[T], error)) call {
	return func(ctx context.Context, c *Client, what string, flow func(int64)) (n int64, err error) {
		s, err := open(ctx, c, what)
		if err != nil {
			return 0, err
		}
		for s.Receive() {
			n += int64(proto.Size(any(s.Msg()).(proto.Message)))
			flow(n)
		}
		return n, errors.Join(s.Err(), s.Close())
	}
}

// sent makes a call of a procedure that takes a stream: of one message for every
// megabyte, and a last one that may be wrong.
func sent[Q, A any](open func(context.Context, *Client) *connect.ClientStreamForClient[Q, A], first func(what string) *Q, next func(data []byte) *Q, wrong *Q) call {
	return func(ctx context.Context, c *Client, what string, flow func(int64)) (n int64, err error) {
		s := open(ctx, c)
		piece, total := make([]byte, 1), int64(1)
		if what != small {
			piece, total = make([]byte, 1<<20), largeBytes
		}
		err = s.Send(first(what))
		for ; err == nil && n < total; n += int64(len(piece)) {
			if err = s.Send(next(piece)); err == nil {
				flow(n)
			}
		}
		if err == nil && what == hurt {
			err = s.Send(wrong)
		}
		if err != nil && !errors.Is(err, io.EOF) { // at EOF the node says why
			return n, err
		}
		_, err = s.CloseAndReceive()
		return n, err
	}
}

func document(d bson.D) []byte {
	b, err := bson.Marshal(d)
	if err != nil {
		panic(err)
	}
	return b
}

// imported imports into the database sink, pushed pushes into the bucket sink,
// unless they are told to go nowhere.
var imported = sent(
	func(ctx context.Context, c *Client) *connect.ClientStreamForClient[weftv1.ImportRequest, weftv1.ImportResponse] {
		return c.Documents.Import(ctx)
	},
	func(what string) *weftv1.ImportRequest {
		return &weftv1.ImportRequest{Database: sink(what), Collection: "things"}
	},
	func(data []byte) *weftv1.ImportRequest {
		half := document(bson.D{{Key: "data", Value: data[len(data)/2:]}})
		return &weftv1.ImportRequest{Documents: [][]byte{half, half}}
	},
	&weftv1.ImportRequest{Documents: [][]byte{document(bson.D{})}, Lines: []uint64{1, 2}},
)

var pushed = sent(
	func(ctx context.Context, c *Client) *connect.ClientStreamForClient[weftv1.PushRequest, weftv1.PushResponse] {
		return c.Buckets.Push(ctx)
	},
	func(what string) *weftv1.PushRequest {
		return &weftv1.PushRequest{Bucket: sink(what), Files: []*weftv1.FileChunk{{Path: what}}}
	},
	func(data []byte) *weftv1.PushRequest { return chunk("", data) },
	chunk("", make([]byte, 17<<20)), // more than a message may have
)

func chunk(path string, data []byte) *weftv1.PushRequest {
	return &weftv1.PushRequest{Files: []*weftv1.FileChunk{{Path: path, Data: data}}}
}

func sink(what string) string {
	if what == nowhere {
		return nowhere
	}
	return "sink"
}

// lastLeaf is the file of the last block of bucket hurt.
var lastLeaf string

// cutLeaf takes a byte off it, which mend puts back.
func cutLeaf(t *testing.T) (mend func()) {
	t.Helper()
	whole, err := os.ReadFile(lastLeaf)
	if err == nil {
		err = os.Truncate(lastLeaf, int64(len(whole)-1))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.WriteFile(lastLeaf, whole, 0o600); err != nil {
			t.Error(err)
		}
	}
}

// beforeLarge is the token of the change before the 50 MB of database large.
var beforeLarge string

// furnish makes what the streams are about: databases small, large and sink, and
// buckets small, large, hurt and sink, in a database each.
func furnish(t *testing.T, c *Client, home string) {
	t.Helper()
	ctx := t.Context()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	insert := func(database string, d bson.D) {
		_, err := c.Documents.Insert(ctx, connect.NewRequest(&weftv1.InsertRequest{Database: database, Collection: "things", Documents: [][]byte{document(d)}}))
		check(err)
	}
	push := func(bucket string, size int, tail []byte) {
		s := c.Buckets.Push(ctx)
		check(s.Send(&weftv1.PushRequest{Bucket: bucket, Files: []*weftv1.FileChunk{{Path: "file"}}}))
		for zeros := make([]byte, 1<<20); size > 0; size -= len(zeros) {
			check(s.Send(chunk("", zeros[:min(size, len(zeros))])))
		}
		check(s.Send(chunk("", tail)))
		_, err := s.CloseAndReceive()
		check(err)
	}
	for _, name := range []string{small, large, hurt, "sink"} {
		_, err := c.Buckets.Create(ctx, connect.NewRequest(&weftv1.CreateBucketRequest{Name: name}))
		check(err)
	}
	watch, err := c.Documents.Watch(ctx, connect.NewRequest(&weftv1.WatchRequest{Database: large}))
	check(err)
	if !watch.Receive() {
		t.Fatal(watch.Err())
	}
	insert(large, bson.D{{Key: "_id", Value: 0}, {Key: "left", Value: 1}})
	if !watch.Receive() {
		t.Fatal(watch.Err())
	}
	beforeLarge = watch.Msg().GetToken()
	check(watch.Close())
	insert(small, bson.D{{Key: "_id", Value: 0}})
	for i := range largeBytes/500_000 + 1 {
		insert(large, bson.D{{Key: "_id", Value: i + 1}, {Key: "left", Value: 1}, {Key: "data", Value: make([]byte, 500_000)}})
	}
	insert(large, bson.D{{Key: "_id", Value: 1000}, {Key: "left", Value: 0}})

	noise := make([]byte, 200<<10)
	_, _ = rand.Read(noise)
	push(small, 0, []byte("x"))
	push(large, largeBytes, nil)
	push(hurt, largeBytes, noise)
	check(filepath.WalkDir(filepath.Join(home, "blobs"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() < 250<<10 {
			lastLeaf = name // it is the one file of its size
		}
		return err
	}))
	// A backup has its 50 MB from bytes that no packer makes smaller.
	s := c.Buckets.Push(ctx)
	check(s.Send(&weftv1.PushRequest{Bucket: "sink", Files: []*weftv1.FileChunk{{Path: "noise"}}}))
	for range largeBytes >> 20 {
		noise := make([]byte, 1<<20)
		_, _ = rand.Read(noise)
		check(s.Send(chunk("", noise)))
	}
	_, err = s.CloseAndReceive()
	check(err)
}
