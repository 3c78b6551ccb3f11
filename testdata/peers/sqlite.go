package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	_ "github.com/mattn/go-sqlite3" // the driver
)

// lite is SQLite with a JSON column, write-ahead log, synced at each commit.
type lite struct {
	db                                        *sql.DB
	getOne, country, filter, top1, top0, sums *sql.Stmt
}

func openSQLite(dir string) (engine, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "peers.db")+"?_journal_mode=WAL&_synchronous=FULL&_cache_size=-65536&_mutex=no")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	l := &lite{db: db}
	for i, paths := range [][]string{{"country"}, {"country", "population"}, {"country", "population", "feature"}} {
		t := collectionOf(i + 1)
		if _, err := db.Exec("CREATE TABLE " + t + " (id TEXT PRIMARY KEY, doc TEXT NOT NULL) WITHOUT ROWID"); err != nil {
			return nil, err
		}
		for _, p := range paths {
			if _, err := db.Exec(fmt.Sprintf("CREATE INDEX %s_%s ON %s (json_extract(doc, '$.%s'))", t, p, t, p)); err != nil {
				return nil, err
			}
		}
	}
	// A plus keeps SQLite from using an index on the expression.
	for _, s := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&l.getOne, "SELECT doc FROM two WHERE id = ?"},
		{&l.country, "SELECT doc FROM two WHERE json_extract(doc, '$.country') = ?"},
		{&l.filter, "SELECT doc FROM two WHERE json_extract(doc, '$.feature') = 'PPL' AND +json_extract(doc, '$.population') >= 50000"},
		{&l.top1, "SELECT id, doc FROM two ORDER BY json_extract(doc, '$.population') DESC LIMIT 20"},
		{&l.top0, "SELECT id, doc FROM two ORDER BY json_extract(doc, '$.name') LIMIT 20"},
		{&l.sums, "SELECT json_extract(doc, '$.country'), count(*), sum(json_extract(doc, '$.population')) FROM two NOT INDEXED GROUP BY +json_extract(doc, '$.country')"},
	} {
		if *s.to, err = db.Prepare(s.text); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *lite) name() string { return "sqlite" }

func (l *lite) close() error { return l.db.Close() }

func (l *lite) insert(docs []doc, indexes int) error {
	tx, err := l.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	s, err := tx.Prepare("INSERT INTO " + collectionOf(indexes) + " (id, doc) VALUES (?, ?)")
	if err != nil {
		return err
	}
	defer s.Close()
	for _, d := range docs { // as text: a blob would be taken for JSONB
		if _, err := s.Exec(d.id, string(d.json)); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (l *lite) get(id string) (bool, error) {
	var doc []byte
	err := l.getOne.QueryRow(id).Scan(&doc)
	return len(doc) > 0, err
}

func count(rows *sql.Rows, err error) (n int, _ error) {
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var doc sql.RawBytes
	for rows.Next() {
		if err := rows.Scan(&doc); err != nil {
			return n, err
		}
		n++
	}
	return n, rows.Err()
}

func (l *lite) byCountry(country string) (int, error) { return count(l.country.Query(country)) }

func (l *lite) scan() (int, error) { return count(l.filter.Query()) }

func (l *lite) top(indexed bool) (ids []string, err error) {
	s := l.top0
	if indexed {
		s = l.top1
	}
	rows, err := s.Query()
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, doc string
		if err := rows.Scan(&id, &doc); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

func (l *lite) group() (groups int, sum int64, err error) {
	rows, err := l.sums.Query()
	if err != nil {
		return 0, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var country string
		var n, people int64
		if err := rows.Scan(&country, &n, &people); err != nil {
			return 0, 0, err
		}
		groups, sum = groups+1, sum+people
	}
	return groups, sum, rows.Err()
}
