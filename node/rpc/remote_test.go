package rpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.mongodb.org/mongo-driver/v2/bson"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/keys/dpop"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
	"github.com/weftdb/weft/node/rpc"
)

// A hub is a node with a local and a remote listener, called over real HTTP.
type hub struct {
	*testing.T
	n    *node.Node
	http *http.Client
}

func openHub(t *testing.T) *hub {
	t.Helper()
	remote, err := rpc.Remote(rpc.RemoteOptions{Addr: "127.0.0.1:0", Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), node.Config{Memory: true, Relay: true, Surfaces: []node.Surface{rpc.Surface("127.0.0.1:0"), remote}})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return &hub{t, n, &http.Client{Transport: &proxied{next: tr}}}
}

// Proxied requests come from another address each, so that what an address may is not what a test
// meets; one that says where it comes from keeps that.
type proxied struct {
	next http.RoundTripper
	n    atomic.Uint32
}

func (p *proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("X-Forwarded-For") == "" {
		n := p.n.Add(1)
		r = r.Clone(r.Context())
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.%d.%d", n>>8&255, n&255))
	}
	return p.next.RoundTrip(r)
}

func (h *hub) addr() string { return h.n.SurfaceAddr(node.SurfaceRemote) }

func (h *hub) key(kind keys.KeyKind, scopes ...keys.Scope) *keys.APISecret {
	h.Helper()
	if scopes == nil {
		scopes = []keys.Scope{keys.ScopeAll}
	}
	_, s, err := h.n.CreateKey(node.KeyOptions{Kind: kind, Scopes: scopes})
	if err != nil {
		h.Fatal(err)
	}
	return s
}

func (h *hub) revoke(s *keys.APISecret) {
	h.Helper()
	if _, err := h.n.RevokeKey(s.Public()); err != nil {
		h.Fatal(err)
	}
}

// A mint says how a token is asked for.
type mint struct {
	key    *keys.APISecret // of an account key, or of the grant
	user   *keys.Identity
	client *dpop.Key
	at     string // authority; "" for the hub's
	life   time.Duration
}

// ask asks for a token.
func (h *hub) ask(m mint) (string, error) {
	h.Helper()
	c := weftv1connect.NewSessionServiceClient(h.http, "http://"+h.addr())
	q, err := c.Challenge(h.Context(), connect.NewRequest(&weftv1.ChallengeRequest{}))
	if err != nil {
		return "", err
	}
	o := keys.MintOptions{Authority: h.addr(), Audience: h.n.Device(), Life: m.life}
	copy(o.Challenge[:], q.Msg.GetChallenge())
	if m.at != "" {
		o.Authority = m.at
	}
	if m.client != nil {
		x := m.client.Thumbprint()
		o.Client = x[:]
	}
	signed, err := m.key, error(nil)
	var out *keys.Mint
	if m.user == nil {
		out, err = signed.Mint(o)
	} else {
		var g *keys.Grant
		g, err = signed.Grant(keys.GrantOptions{User: m.user.Public(), Audience: h.n.Device(), Scopes: []keys.Scope{keys.ScopeAll}, Issued: time.Now(), Expires: time.Now().Add(time.Hour)})
		if err == nil {
			out, err = m.user.Mint(g, o)
		}
	}
	if err != nil {
		return "", err
	}
	b, err := out.Encode()
	if err != nil {
		return "", err
	}
	r, err := c.Mint(h.Context(), connect.NewRequest(&weftv1.MintRequest{Mint: b}))
	if err != nil {
		return "", err
	}
	return r.Msg.GetToken(), nil
}

func (h *hub) token(m mint) string {
	h.Helper()
	token, err := h.ask(m)
	if err != nil {
		h.Fatal(err)
	}
	return token
}

// delegate has the hub write for a user.
func (h *hub) delegate(id *keys.Identity, token string) {
	h.Helper()
	c := weftv1connect.NewSpaceServiceClient(h.http, "http://"+h.addr())
	q := connect.NewRequest(&weftv1.OfferRequest{})
	q.Header().Set("Authorization", "Bearer "+token)
	o, err := c.Offer(h.Context(), q)
	if err != nil {
		h.Fatal(err)
	}
	sign, err := keys.ParseDID(o.Msg.GetSign())
	if err != nil {
		h.Fatal(err)
	}
	d, err := id.Delegate(keys.DevicePublic{Sign: sign, Seal: [32]byte(o.Msg.GetSeal())}, keys.DelegateOptions{Rights: keys.RightCreate, Generation: o.Msg.GetGeneration(), Issued: time.Now()})
	if err != nil {
		h.Fatal(err)
	}
	b, err := d.Encode()
	if err != nil {
		h.Fatal(err)
	}
	r := connect.NewRequest(&weftv1.DelegateRequest{Delegation: b})
	r.Header().Set("Authorization", "Bearer "+token)
	if _, err := c.Delegate(h.Context(), r); err != nil {
		h.Fatal(err)
	}
}

var kindOf = regexp.MustCompile(`"debug":\{"code":"([a-z_]+)"\}`)

// call makes one call with headers, and returns "" if it was served, else the kind of the refusal.
// What a call says of its arguments, which are empty, is that it was served.
func (h *hub) call(at, procedure string, headers http.Header) string {
	h.Helper()
	body, kind := []byte("{}"), "application/json"
	if streaming(procedure) {
		body, kind = append(binary.BigEndian.AppendUint32([]byte{0}, 2), body...), "application/connect+json"
	}
	r, err := http.NewRequestWithContext(h.Context(), http.MethodPost, "http://"+at+procedure, bytes.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	for k, v := range headers {
		r.Header[k] = v
	}
	r.Header.Set("Content-Type", kind)
	res, err := h.http.Do(r)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	var from io.Reader = res.Body
	if streaming(procedure) && res.StatusCode == http.StatusOK { // its first message says it, and the last may never come
		head := make([]byte, 5)
		if _, err := io.ReadFull(res.Body, head); err != nil {
			h.Fatal(err)
		}
		from = io.LimitReader(res.Body, int64(binary.BigEndian.Uint32(head[1:])))
	}
	b, err := io.ReadAll(from)
	if err != nil {
		h.Fatal(err)
	}
	m := kindOf.FindSubmatch(b)
	if m == nil {
		if res.StatusCode != http.StatusOK {
			h.Errorf("%s: got %d %s", procedure, res.StatusCode, b)
		}
		return ""
	}
	switch kind := string(m[1]); kind {
	case "permission_denied", "no_credential", "credential_expired", "key_revoked", "bad_signature", "wrong_scope", "wrong_owner", "limit_reached", "no_delegation":
		return kind
	}
	return ""
}

func streaming(procedure string) bool {
	service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	m := weftv1.File_weft_v1_weft_proto.Services().ByName(protoreflect.FullName(service).Name()).Methods().ByName(protoreflect.Name(method))
	return m.IsStreamingClient() || m.IsStreamingServer()
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// Every call of the API, by every kind of caller, as it was answered: docs/access.md, which this
// test writes with WEFT_UPDATE=1. A call or a caller without a row, and any other answer, fails.
func TestAccess(t *testing.T) {
	h, other := openHub(t), openHub(t)
	for _, x := range []*hub{h, other} { // what has no name in the request is not found, wherever it is
		if _, err := x.n.CreateDatabase(t.Context(), "own"); err != nil {
			t.Fatal(err)
		}
	}
	account, group, second := h.key(keys.KindAccount), h.key(keys.KindUser), h.key(keys.KindUser)
	reader, mailer := h.key(keys.KindAccount, "db.read"), h.key(keys.KindAccount, "inbox", "thread", "account")
	alice, bob := keys.NewIdentity(), keys.NewIdentity()
	client, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	gone := h.key(keys.KindUser)
	revoked := h.token(mint{key: gone, user: alice})
	h.revoke(gone)
	over := h.token(mint{key: group, user: keys.NewIdentity(), life: time.Second})
	for h.call(h.addr(), weftv1connect.SessionServiceDescribeProcedure, bearer(over)) != "credential_expired" { // until its second has passed
	}
	bound := h.token(mint{key: account, client: client})
	admin := string(h.n.Token().Reveal())
	proven := func(procedure string) http.Header {
		p, err := client.Proof(dpop.Request{Method: "POST", URL: "http://" + h.addr() + procedure, Token: bound, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return http.Header{"Authorization": {"DPoP " + bound}, "Dpop": {p}}
	}
	used := proven(weftv1connect.SessionServiceDescribeProcedure)
	if got := h.call(h.addr(), weftv1connect.SessionServiceDescribeProcedure, used); got != "" {
		t.Fatalf("a bound token: %s", got)
	}
	always := func(x http.Header) func(string) http.Header { return func(string) http.Header { return x } }
	fresh := func(m mint) func(string) http.Header {
		token := h.token(m)
		return func(procedure string) http.Header {
			if procedure == weftv1connect.SessionServiceEndProcedure {
				return bearer(h.token(m))
			}
			return bearer(token)
		}
	}
	columns := []struct {
		name    string
		local   bool // at the local listener
		headers func(procedure string) http.Header
	}{
		{"administrator, local", true, always(bearer(admin))},
		{"account key, local", true, fresh(mint{key: account})},
		{"nobody", false, always(nil)},
		{"administrator", false, always(bearer(admin))},
		{"account key", false, fresh(mint{key: account})},
		{"account key, bound", false, func(p string) http.Header {
			if p == weftv1connect.SessionServiceEndProcedure {
				defer func(old string) { bound = old }(bound)
				bound = h.token(mint{key: account, client: client})
			}
			return proven(p)
		}},
		{"account key, `db.read`", false, fresh(mint{key: reader})},
		{"account key, no `db`", false, fresh(mint{key: mailer})},
		{"user", false, fresh(mint{key: group, user: alice})},
		{"another user", false, fresh(mint{key: group, user: bob})},
		{"user, other key", false, fresh(mint{key: second, user: alice})},
		{"revoked", false, always(bearer(revoked))},
		{"expired", false, always(bearer(over))},
		{"forged", false, always(bearer("wt" + strings.Repeat("a", 52)))},
		{"another hub's", false, always(bearer(other.token(mint{key: other.key(keys.KindAccount)})))},
		{"bound, as bearer", false, func(string) http.Header { return bearer(bound) }},
		{"bound, replayed", false, always(used)},
		{"key as token", false, always(bearer(account.Key()))},
	}
	var text strings.Builder
	text.WriteString("# Access\n\nEvery call of the API by every kind of caller, as it was answered: `·` it was served, or refused for\nits arguments, which were none; a sign is the kind of a refusal. Callers are at the remote listener\nof a [hub](design/hub.md) but where it says local. The table is written by\n`WEFT_UPDATE=1 go test ./node/rpc -run '^TestAccess$'`, which has each call answered.\n\n")
	signs := map[string]string{"": "·", "permission_denied": "–", "no_credential": "?", "credential_expired": "t", "wrong_scope": "s", "bad_signature": "x", "no_delegation": "d"}
	for _, kind := range slices.Sorted(maps.Keys(signs)) {
		if kind != "" {
			fmt.Fprintf(&text, "- `%s` %s\n", signs[kind], kind)
		}
	}
	for i, c := range columns {
		fmt.Fprintf(&text, "\n%d. %s", i+1, c.name)
	}
	text.WriteString("\n\n| call |")
	for i := range columns {
		fmt.Fprintf(&text, " %d |", i+1)
	}
	text.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, procedure := range procedures() {
		fmt.Fprintf(&text, "| `%s` |", strings.TrimPrefix(procedure, "/weft.v1."))
		for _, c := range columns {
			at := h.addr()
			if c.local {
				at = h.n.SurfaceAddr(node.SurfaceAPI)
			}
			got := h.call(at, procedure, c.headers(procedure))
			checkCell(t, procedure, c.name, got)
			if signs[got] == "" {
				t.Errorf("%s by %s: got %q", procedure, c.name, got)
			}
			fmt.Fprintf(&text, " %s |", signs[got])
		}
		text.WriteString("\n")
	}
	page := filepath.Join("..", "..", "docs", "access.md")
	if os.Getenv("WEFT_UPDATE") != "" {
		if err := os.WriteFile(page, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(page)
	if err != nil || string(want) != text.String() {
		t.Errorf("docs/access.md is not what was answered (%v): look at what has changed, and write it with WEFT_UPDATE=1", err)
	}
}

// checkCell says what must hold whatever the table of calls says.
func checkCell(t *testing.T, procedure, who, got string) {
	t.Helper()
	service, method, _ := strings.Cut(strings.TrimPrefix(procedure, "/weft.v1."), "/")
	open := service == "SessionService" && (method == "Challenge" || method == "Mint")
	data := service == "SpaceService" || service == "DatabaseService" || service == "DocumentService" || service == "BucketService"
	want := true // that it is refused
	switch who {
	case "administrator, local":
		want = false
	case "account key, local":
	case "account key", "account key, bound", "user", "another user", "user, other key":
		if want = !open && service != "SessionService"; data {
			return // by the table
		}
	case "account key, `db.read`", "account key, no `db`":
		if want = !open && service != "SessionService"; data && who == "account key, `db.read`" {
			return
		}
	default:
		want = !open
	}
	if (got != "") != want {
		t.Errorf("%s by %s: got %q", procedure, who, got)
	}
}

// What is another's is answered as what is not there, by the same words.
func TestForeignIsAbsent(t *testing.T) {
	h := openHub(t)
	if _, err := h.n.CreateDatabase(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	ref, err := h.n.DatabaseRef("own")
	if err != nil {
		t.Fatal(err)
	}
	id := keys.NewIdentity()
	token := h.token(mint{key: h.key(keys.KindUser), user: id})
	h.delegate(id, token)
	user := bearer(token)
	owner := bearer(h.token(mint{key: h.key(keys.KindAccount)}))
	ask := func(auth http.Header, service, name string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.addr()+"/weft.v1."+service, strings.NewReader(fmt.Sprintf(`{"database":%q,"name":%q,"collection":"c"}`, name, name)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = auth.Clone()
		r.Header.Set("Content-Type", "application/json")
		res, err := h.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(res.StatusCode, strings.ReplaceAll(string(b), name, "NAME"))
	}
	for _, service := range []string{"DocumentService/Count", "DocumentService/ListIndexes", "DocumentService/Insert"} {
		absent := ask(user, service, "nothing")
		if foreign := ask(user, service, "own"); foreign != absent || !strings.Contains(absent, "not_found") {
			t.Errorf("%s: got %s of what is another's, %s of nothing", service, foreign, absent)
		}
		for _, name := range []string{ref.ID.String(), "@mailbox", "@" + strings.Repeat("a", 32) + "/own", "../own"} {
			for who, auth := range map[string]http.Header{"user": user, "owner": owner} {
				if got := ask(auth, service, name); !strings.Contains(got, "not_found") && !strings.Contains(got, "invalid_name") {
					t.Errorf("%s of %q by the %s: got %s", service, name, who, got)
				}
			}
		}
	}
	if got := ask(owner, "DocumentService/Count", "own"); !strings.HasPrefix(got, "200") {
		t.Errorf("the owner: got %s", got)
	}
}

// A stream is cut within 100 ms of the revocation of its key, or of the end of its session; and no
// other is.
func TestRevocationCuts(t *testing.T) {
	h := openHub(t)
	if _, err := h.n.CreateDatabase(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	watch := func(token string) (next func() error, cancel func()) {
		ctx, stop := context.WithCancel(t.Context())
		r := connect.NewRequest(&weftv1.WatchRequest{Database: "own"})
		r.Header().Set("Authorization", "Bearer "+token)
		s, err := weftv1connect.NewDocumentServiceClient(h.http, "http://"+h.addr()).Watch(ctx, r)
		if err != nil || !s.Receive() {
			t.Fatal(err, s.Err())
		}
		return func() error { s.Receive(); return s.Err() }, func() { stop(); _ = s.Close() }
	}
	a, b := h.key(keys.KindAccount), h.key(keys.KindAccount)
	ended, other := h.token(mint{key: a}), h.token(mint{key: b})
	first, cancel1 := watch(h.token(mint{key: a}))
	second, cancel2 := watch(ended)
	third, cancel3 := watch(other)
	defer cancel1()
	defer cancel2()
	defer cancel3()
	within := func(what string, next func() error, since time.Time, kind string) {
		t.Helper()
		err := next()
		took := time.Since(since)
		if err == nil || !strings.Contains(errorKind(err), kind) || took > 100*time.Millisecond {
			t.Errorf("%s: got %v (%s) after %v", what, err, errorKind(err), took)
		}
	}
	since := time.Now()
	if got := h.call(h.addr(), weftv1connect.SessionServiceEndProcedure, bearer(ended)); got != "" {
		t.Fatal(got)
	}
	within("ended", second, since, "no_credential")
	since = time.Now()
	h.revoke(a)
	within("revoked", first, since, "key_revoked")
	cancel3()
	if err := third(); connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("the stream of another key: got %v", err)
	}
	if got := h.call(h.addr(), weftv1connect.SessionServiceDescribeProcedure, bearer(other)); got != "" {
		t.Errorf("the token of another key: got %s", got)
	}
}

// A stream whose caller does not read is cut all the same.
func TestRevocationCutsSilence(t *testing.T) {
	h := openHub(t)
	d, err := h.n.CreateDatabase(t.Context(), "own")
	if err != nil {
		t.Fatal(err)
	}
	const each, n = 512 << 10, 64
	for range n {
		if _, err := d.Collection("c").Insert(t.Context(), []bson.Raw{document(t, `{"x":"`+strings.Repeat("x", each)+`"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	account := h.key(keys.KindAccount)
	r := connect.NewRequest(&weftv1.FindRequest{Database: "own", Collection: "c"})
	r.Header().Set("Authorization", "Bearer "+h.token(mint{key: account}))
	s, err := weftv1connect.NewDocumentServiceClient(h.http, "http://"+h.addr()).Find(t.Context(), r)
	if err != nil || !s.Receive() {
		t.Fatal(err, s.Err())
	}
	h.revoke(account)
	got := 1
	for s.Receive() {
		got++
	}
	if s.Err() == nil || got >= n/2 {
		t.Errorf("got %d of %d messages, and %v", got, n, s.Err())
	}
	_ = s.Close()
}

func errorKind(err error) string {
	var failed *connect.Error
	if errors.As(err, &failed) {
		for _, d := range failed.Details() {
			if v, err := d.Value(); err == nil {
				if info, ok := v.(*weftv1.ErrorInfo); ok {
					return info.GetCode()
				}
			}
		}
	}
	return ""
}

// A mint that was signed for another name, another hub, or is used again gives no token.
func TestMintElsewhere(t *testing.T) {
	h := openHub(t)
	account := h.key(keys.KindAccount)
	for _, at := range []string{"evil.example", "localhost", "127.0.0.1", strings.Replace(h.addr(), "127.0.0.1", "127.0.0.2", 1)} {
		if _, err := h.ask(mint{key: account, at: at}); errorKind(err) != "wrong_audience" {
			t.Errorf("signed for %s: got %v", at, err)
		}
	}
	_, port, _ := strings.Cut(h.addr(), ":")
	for _, at := range []string{"localhost:" + port, "[::1]:" + port} {
		if _, err := h.ask(mint{key: account, at: at}); err != nil {
			t.Errorf("signed for %s: %v", at, err)
		}
	}
	for _, host := range []string{"evil.example", "localhost.evil.example:" + port, "localhost"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.addr()+weftv1connect.SessionServiceChallengeProcedure, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Content-Type", "application/json")
		res, err := h.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _ = res.Body.Close(); res.StatusCode != http.StatusForbidden {
			t.Errorf("host %s: got %d", host, res.StatusCode)
		}
	}
}

// Commands of a reader: none that writes, by whatever spelling or stage.
func TestRunReads(t *testing.T) {
	h := openHub(t)
	if _, err := h.n.CreateDatabase(t.Context(), "own"); err != nil {
		t.Fatal(err)
	}
	c := weftv1connect.NewDocumentServiceClient(h.http, "http://"+h.addr())
	token := h.token(mint{key: h.key(keys.KindAccount, "db.read")})
	for _, x := range []struct {
		command string
		served  bool
	}{
		{`{"find":"c"}`, true},
		{`{"FIND":"c"}`, true},
		{`{"aggregate":"c","pipeline":[{"$match":{}}],"cursor":{}}`, true},
		{`{"aggregate":"c","pipeline":[{"$match":{}},{"$out":"d"}],"cursor":{}}`, false},
		{`{"aggregate":"c","pipeline":[{"$merge":{"into":"d"}}],"cursor":{}}`, false},
		{`{"insert":"c","documents":[{}]}`, false},
		{`{"Insert":"c","documents":[{}]}`, false},
		{`{"find":"c","startTransaction":true,"autocommit":false,"lsid":{"id":1},"txnNumber":1}`, false},
		{`{"commitTransaction":1}`, false},
		{`{"explain":{"delete":"c","deletes":[]}}`, false},
		{`{"drop":"c"}`, false},
		{`{}`, false},
	} {
		r := connect.NewRequest(&weftv1.RunRequest{Database: "own", Command: document(t, x.command)})
		r.Header().Set("Authorization", "Bearer "+token)
		if _, err := c.Run(t.Context(), r); (err == nil) != x.served || err != nil && errorKind(err) != "wrong_scope" {
			t.Errorf("%s: got %v", x.command, err)
		}
	}
}

// What of the options is not safe is refused before anything listens.
func TestRemoteOptions(t *testing.T) {
	for _, o := range []rpc.RemoteOptions{
		{Addr: "0.0.0.0:4602"},
		{Addr: ":4602"},
		{Addr: "hub.example:4602"},
		{Addr: "127.0.0.1"},
		{Addr: "0.0.0.0:4602", TLS: emptyTLS()},
		{Addr: "0.0.0.0:4602", TLS: emptyTLS(), PublicURL: address(t, "http://hub.example")},
		{Addr: "127.0.0.1:4602", PublicURL: address(t, "https://hub.example/path")},
		{Addr: "127.0.0.1:4602", PublicURL: address(t, "https://user@hub.example")},
		{Addr: "127.0.0.1:4602", PublicURL: address(t, "ftp://hub.example")},
	} {
		if _, err := rpc.Remote(o); !errors.Is(err, node.ErrInvalid) {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}
