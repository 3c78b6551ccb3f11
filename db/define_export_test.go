package db

import "github.com/weftdb/weft/db/internal/judge"

// Steps applies the steps of a migration to a document, both as JSON.
func Steps(text, doc string) (string, error) {
	steps, err := judge.ParseMigration(text)
	if err != nil {
		return "", err
	}
	raw, err := ParseJSON([]byte(doc))
	if err != nil {
		return "", err
	}
	_, after, err := judge.Rewrites(steps, raw)
	return string(AppendJSON(nil, after, false)), err
}

// CheckDefinition parses a document of system.collections.
func CheckDefinition(doc []byte) error {
	_, err := judge.ParseDefinition(doc)
	return err
}
