package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/node/client"
)

func (a *app) indexCommand() *cobra.Command {
	return newParent("index", "Manage the indexes of a collection", a.indexCreate(), a.indexList(), a.indexRemove())
}

// An indexOutput describes an index.
type indexOutput struct {
	Name      string          `json:"name"`
	Keys      json.RawMessage `json:"keys"`
	Unique    bool            `json:"unique"`
	Sparse    bool            `json:"sparse,omitempty"`
	Partial   json.RawMessage `json:"partial,omitempty"`
	Expire    *int64          `json:"expire,omitempty"` // seconds
	Weights   json.RawMessage `json:"weights,omitempty"`
	Language  string          `json:"language,omitempty"`
	Building  bool            `json:"building,omitempty"`
	Done      int64           `json:"done,omitempty"`  // documents, while it is built
	Total     int64           `json:"total,omitempty"` // documents, while it is built
	Conflicts int64           `json:"conflicts,omitempty"`
}

// indexOf reads an index as listIndexes tells it.
func indexOf(doc bson.Raw) indexOutput {
	text := func(field string) json.RawMessage {
		v, err := doc.LookupErr(field)
		if err != nil {
			return nil
		}
		return client.ValueText(v)
	}
	out := indexOutput{Keys: text("key"), Partial: text("partialFilterExpression"), Weights: text("weights")}
	out.Name, _ = doc.Lookup("name").StringValueOK()
	out.Unique, _ = doc.Lookup("unique").BooleanOK()
	out.Sparse, _ = doc.Lookup("sparse").BooleanOK()
	if n, ok := doc.Lookup("expireAfterSeconds").AsInt64OK(); ok {
		out.Expire = &n
	}
	out.Language, _ = doc.Lookup("default_language").StringValueOK()
	out.Building, _ = doc.Lookup("building").BooleanOK()
	out.Done, _ = doc.Lookup("done").AsInt64OK()
	out.Total, _ = doc.Lookup("total").AsInt64OK()
	out.Conflicts, _ = doc.Lookup("conflicts").AsInt64OK()
	return out
}

// String tells what an index is, beside its name and keys.
func (x indexOutput) String() string {
	var parts []string
	for _, w := range []struct {
		is   bool
		word string
	}{{x.Unique, "unique"}, {x.Sparse, "sparse"}, {x.Partial != nil, "partial " + string(x.Partial)}} {
		if w.is {
			parts = append(parts, w.word)
		}
	}
	if x.Expire != nil {
		parts = append(parts, fmt.Sprintf("expires after %s", time.Duration(*x.Expire)*time.Second))
	}
	if x.Language != "" {
		parts = append(parts, "in "+x.Language)
	}
	if x.Building {
		parts = append(parts, fmt.Sprintf("building: %d of %d", x.Done, x.Total))
	}
	if x.Conflicts > 0 {
		parts = append(parts, words.Count(x.Conflicts, "conflict"))
	}
	return strings.Join(parts, ", ")
}

// listIndexes returns the indexes of a collection but that of the _id.
func (a *app) listIndexes(ctx context.Context, c *client.Client, database, collection string) ([]indexOutput, error) {
	out := []indexOutput{}
	_, err := a.each(ctx, c, database, collection, bson.D{{Key: "listIndexes", Value: collection}}, func(doc bson.Raw) error {
		if x := indexOf(doc); x.Name != "_id_" {
			out = append(out, x)
		}
		return nil
	})
	return out, err
}

func (a *app) indexList() *cobra.Command {
	return a.newCommand("ls DB COLLECTION", "List the indexes, and the progress of those being built", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			out, err := a.listIndexes(ctx, c, args[0], args[1])
			if err != nil {
				return err
			}
			return a.print(out, func(w io.Writer) {
				rows := [][]string{{"NAME", "KEYS", "IS"}}
				for _, x := range out {
					rows = append(rows, []string{x.Name, string(x.Keys), x.String()})
				}
				words.Table(w, rows...)
			})
		})
}

// An indexFlags says what an index is.
type indexFlags struct {
	name, partial, weights, language string
	unique, sparse, text             bool
	expire                           time.Duration
}

// keys reads the fields of an index: PATH, PATH:asc, PATH:desc, PATH:text, or
// one document.
func (o indexFlags) keys(args []string) (keys bson.D, name string, err error) {
	if len(args) == 1 && strings.HasPrefix(args[0], "{") {
		raw, err := document("index", args[0])
		if err == nil {
			err = bson.Unmarshal(raw, &keys)
		}
		if err != nil {
			return nil, "", err
		}
	} else {
		for _, f := range args {
			path, order, _ := strings.Cut(f, ":")
			if o.text && order == "" {
				order = "text"
			}
			var v any = "text"
			switch order {
			case "", "asc":
				v = int32(1)
			case "desc":
				v = int32(-1)
			case "text":
			default:
				return nil, "", usagef("invalid index field %q: want PATH, PATH:asc, PATH:desc or PATH:text", f)
			}
			keys = append(keys, bson.E{Key: path, Value: v})
		}
	}
	var parts []string
	for _, k := range keys {
		parts = append(parts, k.Key, fmt.Sprint(k.Value))
	}
	return keys, strings.Join(parts, "_"), nil
}

// spec returns the index as createIndexes takes it, and its name.
func (o indexFlags) spec(args []string) (bson.D, string, error) {
	keys, name, err := o.keys(args)
	if err != nil {
		return nil, "", err
	}
	if o.name != "" {
		name = o.name
	}
	spec := bson.D{{Key: "key", Value: keys}, {Key: "name", Value: name}}
	if o.unique {
		spec = append(spec, bson.E{Key: "unique", Value: true})
	}
	if o.sparse {
		spec = append(spec, bson.E{Key: "sparse", Value: true})
	}
	for _, d := range []struct{ flag, option, text string }{
		{"--partial", "partialFilterExpression", o.partial}, {"--weights", "weights", o.weights},
	} {
		if raw, err := document(d.flag, d.text); err != nil {
			return nil, "", err
		} else if raw != nil {
			spec = append(spec, bson.E{Key: d.option, Value: bson.Raw(raw)})
		}
	}
	if o.expire >= 0 {
		if o.expire%time.Second != 0 || o.expire/time.Second > math.MaxInt32 {
			return nil, "", usagef("invalid --expire %q: want whole seconds, such as 720h", o.expire)
		}
		spec = append(spec, bson.E{Key: "expireAfterSeconds", Value: int32(o.expire / time.Second)})
	}
	if o.language != "" {
		spec = append(spec, bson.E{Key: "default_language", Value: o.language})
	}
	return spec, name, nil
}

func (a *app) indexCreate() *cobra.Command {
	o := indexFlags{expire: -1}
	cmd := a.newCommand("create DB COLLECTION FIELD…", "Create an index on one or more fields (PATH, PATH:desc or PATH:text)", 3, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			spec, name, err := o.spec(args[2:])
			if err != nil {
				return err
			}
			_, err = a.run(ctx, c, args[0], bson.D{{Key: "createIndexes", Value: args[1]}, {Key: "indexes", Value: bson.A{spec}}})
			if err != nil {
				return err
			}
			return a.print(map[string]string{"name": name}, func(w io.Writer) { fmt.Fprintln(w, name) })
		})
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "name of the index (default derived from its fields)")
	f.BoolVar(&o.unique, "unique", false, "reject documents that have the same values as another")
	f.BoolVar(&o.sparse, "sparse", false, "omit documents that have none of the fields")
	f.StringVar(&o.partial, "partial", "", "index only the documents that match this filter")
	f.BoolVar(&o.text, "text", false, "index the words of the fields, for $text")
	f.StringVar(&o.weights, "weights", "", `weight of each field of a text index, such as '{"title":5}'`)
	f.StringVar(&o.language, "language", "", "language of a text index (default english)")
	f.Var((*seconds)(&o.expire), "expire", "delete documents this long after the date in the field, such as 720h or 3600")
	return cmd
}

// seconds is a flag that takes a duration, or a number of seconds.
type seconds time.Duration

func (s *seconds) String() string {
	if *s < 0 {
		return ""
	}
	return time.Duration(*s).String()
}

func (s *seconds) Type() string { return "duration" }

func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if n, nerr := strconv.ParseInt(text, 10, 32); nerr == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err == nil && d < 0 {
		err = errors.New("a negative duration")
	}
	*s = seconds(d)
	return err
}

func (a *app) indexRemove() *cobra.Command {
	return a.newCommand("rm DB COLLECTION NAME", "Remove an index", 3, 3,
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.command(ctx, c, args[0], bson.D{{Key: "dropIndexes", Value: args[1]}, {Key: "index", Value: args[2]}})
		})
}
