// Peers runs the same work through Weft, SQLite and raw badger, one after the
// other in each round, and prints the rates and their ratios. The ratios of one
// run are what counts: machines differ and are noisy.
//
//	go run . -data cities.jsonl.gz
//
// Weft signs, seals, logs and can replicate what it writes; the others do not.
// Each keeps the documents on disk and syncs every batch. SQLite has them as text
// in a JSON column with expression indexes, badger as BSON under their _ids with
// index keys of our own, read by hand.
package main

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A doc is one document in the forms that the engines want.
type doc struct {
	id         string
	json       []byte
	bson       bson.Raw
	country    string
	population int64
}

// An engine is a store of documents with indexes on country and population.
type engine interface {
	name() string
	// insert writes documents as one synced batch; indexes says on how many of
	// country, population, feature.
	insert(docs []doc, indexes int) error
	get(id string) (bool, error)
	byCountry(country string) (int, error)
	scan() (int, error)                      // feature PPL and population ≥ 50,000, on no index
	top(indexed bool) ([]string, error)      // the 20 with most people, or the first by name
	group() (groups int, sum int64, _ error) // by country: count and people
	close() error
}

func main() {
	log.SetFlags(0)
	data := flag.String("data", "", "JSONL of the documents, gzipped")
	rounds := flag.Int("rounds", 3, "rounds; the median counts")
	seconds := flag.Float64("seconds", 1, "how long each figure is taken")
	flag.Parse()
	docs, err := load(*data)
	if err != nil {
		log.Fatal(err)
	}
	if err := run(docs, *rounds, time.Duration(*seconds*float64(time.Second))); err != nil {
		log.Fatal(err)
	}
}

func load(path string) (docs []doc, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(z); ; {
		if !lines.Scan() {
			return docs, lines.Err()
		}
		d := doc{json: slices.Clone(lines.Bytes())}
		var v bson.D
		if err := bson.UnmarshalExtJSON(d.json, false, &v); err != nil {
			return nil, err
		}
		if d.bson, err = bson.Marshal(v); err != nil {
			return nil, err
		}
		d.id = d.bson.Lookup("_id").StringValue()
		d.country, _ = d.bson.Lookup("country").StringValueOK()
		d.population, _ = d.bson.Lookup("population").AsInt64OK()
		docs = append(docs, d)
	}
}

// A figure is one row of the table: work returns how many things it did.
type figure struct {
	name, unit string
	work       func(e engine, n int) (int, error)
}

func run(docs []doc, rounds int, span time.Duration) error {
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	engines := []engine{}
	for _, open := range []func(dir string) (engine, error){openWeft, openSQLite, openBadger} {
		e, err := open(filepath.Join(dir, fmt.Sprint(len(engines))))
		if err != nil {
			return err
		}
		defer e.close()
		engines = append(engines, e)
	}
	rates := map[string]map[string][]float64{}
	note := func(row string, e engine, rate float64) {
		if rates[row] == nil {
			rates[row] = map[string][]float64{}
		}
		rates[row][e.name()] = append(rates[row][e.name()], rate)
	}
	// The data set, in synced batches of 1,000, with the indexes on country and population.
	for _, e := range engines {
		began := time.Now()
		for batch := range slices.Chunk(docs, 1000) {
			if err := e.insert(batch, 2); err != nil {
				return fmt.Errorf("%s: %w", e.name(), err)
			}
		}
		note("load, batches of 1,000, two indexes (documents/s)", e, float64(len(docs))/time.Since(began).Seconds())
	}
	country, want := onePercent(docs)
	if err := sameAnswers(engines); err != nil {
		return err
	}
	figures := figures(docs, country, want)
	order := []string{"load, batches of 1,000, two indexes (documents/s)"}
	for _, f := range figures {
		order = append(order, f.name+" ("+f.unit+")")
	}
	for range rounds {
		for _, f := range figures {
			for _, e := range engines {
				n, calls := 0, 0
				began := time.Now()
				for time.Since(began) < span {
					k, err := f.work(e, calls)
					if err != nil {
						return fmt.Errorf("%s: %s: %w", e.name(), f.name, err)
					}
					n, calls = n+k, calls+1
				}
				note(f.name+" ("+f.unit+")", e, float64(n)/time.Since(began).Seconds())
			}
		}
	}
	sizes := map[string]int64{}
	for i, e := range engines {
		if err := e.close(); err != nil {
			return err
		}
		if sizes[e.name()], err = diskUse(filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return err
		}
	}
	table(engines, order, rates)
	fmt.Println()
	for _, e := range engines {
		fmt.Printf("%-8s %6.1f MB on disk after all of it\n", e.name(), float64(sizes[e.name()])/1e6)
	}
	return nil
}

// sameAnswers checks that the engines answer alike, or the figures mean nothing.
func sameAnswers(engines []engine) error {
	answer := func(e engine) (string, error) {
		n, err := e.scan()
		if err != nil {
			return "", err
		}
		most, err := e.top(true)
		if err != nil {
			return "", err
		}
		groups, people, err := e.group()
		return fmt.Sprint(n, " found; most people ", most[:3], "; ", groups, " groups of ", people), err
	}
	first := ""
	for _, e := range engines {
		a, err := answer(e)
		if err != nil {
			return fmt.Errorf("%s: %w", e.name(), err)
		}
		if first = cmp.Or(first, a); a != first {
			return fmt.Errorf("%s answers %s, %s %s", engines[0].name(), first, e.name(), a)
		}
	}
	return nil
}

func figures(docs []doc, country string, want int) []figure {
	serial := 0
	fresh := func(n int) []doc { // documents that are not there yet
		out := make([]doc, n)
		for i := range out {
			serial++
			out[i] = renamed(docs[serial%len(docs)], fmt.Sprintf("n%09d", serial))
		}
		return out
	}
	insert := func(n, indexes int) func(engine, int) (int, error) {
		return func(e engine, _ int) (int, error) { return n, e.insert(fresh(n), indexes) }
	}
	return []figure{
		{"point get", "1/s", func(e engine, n int) (int, error) {
			for i := range 1000 {
				if ok, err := e.get(docs[(n*1000+i)*7919%len(docs)].id); err != nil || !ok {
					return 0, fmt.Errorf("not found: %v", err)
				}
			}
			return 1000, nil
		}},
		{"indexed equality, 1 % of the documents", "documents/s", func(e engine, _ int) (int, error) {
			n, err := e.byCountry(country)
			if err == nil && n != want {
				err = fmt.Errorf("%d documents, not %d", n, want)
			}
			return n, err
		}},
		{"scan with a filter of two fields, no index", "documents/s", func(e engine, _ int) (int, error) {
			_, err := e.scan()
			return len(docs), err
		}},
		{"sort and limit 20 on an index", "1/s", func(e engine, _ int) (int, error) {
			ids, err := e.top(true)
			if err == nil && len(ids) != 20 {
				err = fmt.Errorf("%d documents", len(ids))
			}
			return 1, err
		}},
		{"sort and limit 20 on no index", "documents/s", func(e engine, _ int) (int, error) {
			_, err := e.top(false)
			return len(docs), err
		}},
		{"group by country, sum and count", "documents/s", func(e engine, _ int) (int, error) {
			_, _, err := e.group()
			return len(docs), err
		}},
		// What writes comes last: it changes what the rows above read.
		{"synced single inserts, one index", "documents/s", insert(1, 1)},
		{"synced batches of 1,000, one index", "documents/s", insert(1000, 1)},
		{"synced batches of 1,000, three indexes", "documents/s", insert(1000, 3)},
	}
}

// onePercent returns the country with about 1 % of the documents, and how many.
func onePercent(docs []doc) (country string, n int) {
	count := map[string]int{}
	for _, d := range docs {
		count[d.country]++
	}
	off := func(n int) int { return max(n-len(docs)/100, len(docs)/100-n) }
	for c, k := range count {
		if n == 0 || off(k) < off(n) || off(k) == off(n) && c < country {
			country, n = c, k
		}
	}
	return country, n
}

func renamed(d doc, id string) doc {
	d.json = []byte(`{"_id":"` + id + `"` + string(d.json[len(`{"_id":"`)+len(d.id)+1:]))
	d.id = id
	elements, err := d.bson.Elements()
	if err != nil {
		panic(err)
	}
	v := bson.D{{Key: "_id", Value: id}}
	for _, e := range elements[1:] {
		v = append(v, bson.E{Key: e.Key(), Value: e.Value()})
	}
	if d.bson, err = bson.Marshal(v); err != nil {
		panic(err)
	}
	return d
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func table(engines []engine, order []string, rates map[string]map[string][]float64) {
	width := len(slices.MaxFunc(order, func(a, b string) int { return cmp.Compare(len(a), len(b)) }))
	fmt.Printf("%-*s", width, "")
	for _, e := range engines {
		fmt.Printf(" %12s", e.name())
	}
	fmt.Printf("   weft/sqlite  weft/badger\n")
	for _, row := range order {
		fmt.Printf("%-*s", width, row)
		for _, e := range engines {
			fmt.Printf(" %12.0f", median(rates[row][e.name()]))
		}
		w := median(rates[row]["weft"])
		fmt.Printf("   %11.2f  %11.2f\n", w/median(rates[row]["sqlite"]), w/median(rates[row]["badger"]))
	}
}

func diskUse(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		i, err := e.Info()
		if err == nil && !strings.HasSuffix(path, ".lock") {
			n += i.Size()
		}
		return err
	})
	return n, err
}

var ctx = context.Background()
