// Package remote is what the command line knows of hubs: how a daemon is told to be one, and by whose
// secret one is called. It opens nothing.
package remote

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/rpc"
)

// defaultListen is where a hub answers remote callers unless told otherwise: on this machine, for
// a proxy before it.
const defaultListen = "127.0.0.1:4602"

// Options say how a daemon answers remote callers.
type Options struct {
	On                        bool
	listen, cert, key, public string
	proxies                   []string
}

// Flags adds the flags that set the options.
func (o *Options) Flags(f *pflag.FlagSet) {
	f.BoolVar(&o.On, "hub", false, "answer remote callers that have a token, besides being a relay")
	f.StringVar(&o.listen, "listen", "", "with --hub: host:port for remote callers (default "+defaultListen+")")
	f.StringVar(&o.cert, "tls-cert", "", "with --hub: file with the certificate, PEM, and those that it rests on")
	f.StringVar(&o.key, "tls-key", "", "with --hub: file with the certificate's private key, PEM")
	f.StringVar(&o.public, "public-url", "", "with --hub: what clients call, such as https://hub.example.com; needed off this machine")
	f.StringArrayVar(&o.proxies, "trusted-proxy", nil, "with --hub: address range of a proxy whose X-Forwarded-For is believed, may be repeated")
}

// Surfaces returns the way in for remote callers; none without --hub.
func (o *Options) Surfaces() ([]node.Surface, error) {
	if !o.On {
		if o.listen != "" || o.cert != "" || o.key != "" || o.public != "" || o.proxies != nil {
			return nil, usagef("--listen, --tls-cert, --tls-key, --public-url and --trusted-proxy are of a hub: give --hub, too")
		}
		return nil, nil
	}
	if o.listen == "" {
		o.listen = defaultListen
	}
	r := rpc.RemoteOptions{Addr: o.listen}
	if (o.cert == "") != (o.key == "") {
		return nil, usagef("--tls-cert and --tls-key belong together: give both")
	}
	if o.cert != "" {
		c, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, usagef("--tls-cert %s and --tls-key %s cannot be used: %v", tty.Printable(o.cert), tty.Printable(o.key), err)
		}
		r.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{c}}
	}
	if o.public != "" {
		u, err := url.Parse(o.public)
		if err != nil {
			return nil, usagef("--public-url: %v", err)
		}
		r.PublicURL = u
	}
	for _, s := range o.proxies {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); err != nil && aerr == nil {
			p, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, usagef("invalid --trusted-proxy %q: want an address or a range, such as 10.0.0.0/8", s)
		}
		r.Proxies = append(r.Proxies, p.Masked())
	}
	s, err := rpc.Remote(r)
	if err != nil {
		return nil, usagef("%v", err)
	}
	return []node.Surface{s}, nil
}

// Called returns what clients call; "" for no hub.
func (o *Options) Called(n *node.Node) string {
	switch {
	case !o.On:
		return ""
	case o.public != "":
		return strings.TrimSuffix(o.public, "/")
	case o.cert != "":
		return "https://" + n.SurfaceAddr(node.SurfaceRemote)
	}
	return "http://" + n.SurfaceAddr(node.SurfaceRemote)
}

// Secret returns the secret by which a hub at api is called, of a file or of
// WEFT_API_SECRET; nil if a daemon is, by its token.
func Secret(api, file string) (*keys.APISecret, error) {
	text := os.Getenv("WEFT_API_SECRET")
	if file != "" {
		info, err := os.Stat(file)
		if err != nil {
			return nil, usagef("--api-secret-file: %v", err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("--api-secret-file %s: %w", tty.Printable(file), keys.ErrFileMode)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, usagef("--api-secret-file: %v", err)
		}
		text = string(b)
	}
	if text == "" {
		return nil, nil
	}
	if api == "" {
		return nil, usagef("a key's secret is for a hub: give its address by --api or WEFT_API, or leave out --api-secret-file and WEFT_API_SECRET")
	}
	s, err := keys.ParseAPISecret(strings.TrimSpace(text))
	if err != nil {
		return nil, usagef("the secret of the key for %s: %v", tty.Printable(api), err)
	}
	if s.Kind() != keys.KindAccount {
		return nil, usagef("the secret is of a user group key, which acts for users only: give that of an account key")
	}
	return s, nil
}

// URL is the address of a hub as a person gives it: host:port is one on this machine.
func URL(api string) string {
	if strings.Contains(api, "://") {
		return api
	}
	return "http://" + api
}

func usagef(format string, args ...any) error { return fault.Errorf(fault.Usage, format, args...) }
