//go:build race

package db_test

import "flag"

// Under the race detector a third of the random cases: more of them find no other races.
func init() {
	if err := flag.Set("rapid.checks", "33"); err != nil {
		panic(err)
	}
}
