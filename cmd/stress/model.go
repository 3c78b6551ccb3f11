//go:build unix

package main

import (
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A fate is what is known of a document.
type fate int

const (
	maybe   fate = iota // asked for, not acknowledged
	present             // acknowledged
	leaving             // its deletion was asked for
	absent              // its deletion was acknowledged
)

// A model is what the writers were told. What is acknowledged must be there.
type model struct {
	mu     sync.Mutex
	fates  map[string]fate
	acked  map[string]int64 // counter: sum of the acknowledged increments
	asked  map[string]int64 // counter: sum of all increments that were sent
	tokens map[string]bool  // pushed to the list of the hot document; whether acknowledged
	next   int
}

func newModel() *model {
	return &model{fates: map[string]fate{}, acked: map[string]int64{}, asked: map[string]int64{}, tokens: map[string]bool{}}
}

// id returns a name that no document has.
func (m *model) id() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	return fmt.Sprintf("d%06d", m.next)
}

func (m *model) set(ids []string, f fate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.fates[id] = f
	}
}

// some returns up to n documents that must be there.
func (m *model) some(n int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for id, f := range m.fates {
		if len(ids) < n && f == present {
			ids = append(ids, id)
		}
	}
	return ids
}

// check compares the documents of a replica with what was acknowledged.
func (m *model) check(docs map[string]bson.Raw) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, f := range m.fates {
		_, there := docs[id]
		if f == present && !there {
			return fmt.Errorf("document %s was acknowledged and is gone", id)
		}
		if f == absent && there {
			return fmt.Errorf("the deletion of document %s was acknowledged, and it is there", id)
		}
	}
	for id := range docs {
		if _, asked := m.fates[id]; !asked && id != hot {
			return fmt.Errorf("document %s is there and nobody wrote it", id)
		}
	}
	h := docs[hot]
	if h == nil {
		return fmt.Errorf("document %s is gone", hot)
	}
	for name, acked := range m.acked {
		got, _ := h.Lookup(name).AsInt64OK()
		if got < acked || got > m.asked[name] {
			return fmt.Errorf("counter %s is %d: %d were acknowledged, %d asked for", name, got, acked, m.asked[name])
		}
	}
	list, _ := h.Lookup("list").ArrayOK()
	values, _ := list.Values()
	count := map[string]int{}
	for _, v := range values {
		count[v.StringValue()]++
	}
	for token, acked := range m.tokens {
		if n := count[token]; n > 1 || acked && n == 0 {
			return fmt.Errorf("the pushed value %s is %d times in the list (acknowledged: %v)", token, n, acked)
		}
	}
	return nil
}
