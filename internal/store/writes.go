package store

import "bytes"

// compare orders keys by their bytes.
func compare(a, b []byte) int { return bytes.Compare(a, b) }

// Writes holds a transaction's writes in key order: a skip list in slices, so that
// a put allocates nothing but the slices' growth. Node 0 is the head; as a
// successor it means none.
type Writes struct {
	nodes []writeNode
	links []int32 // the towers of the nodes
	rnd   uint32
}

type writeNode struct {
	key, value []byte
	deleted    bool
	tower      int32 // links[tower+level] is the successor at level
}

const maxLevel = 10 // one node in 4 reaches the next level: enough for 4^10

func newWrites() *Writes {
	w := &Writes{rnd: 2463534242}
	w.nodes = append(make([]writeNode, 0, 8), writeNode{})
	w.links = make([]int32, maxLevel, maxLevel+16)
	return w
}

// reset empties w, and keeps its memory unless it is much.
func (w *Writes) reset() {
	if cap(w.nodes) > 1<<14 {
		*w = *newWrites()
		return
	}
	clear(w.nodes)
	w.nodes = w.nodes[:1]
	w.links = w.links[:maxLevel]
	clear(w.links)
}

// A Write puts Value under Key, or deletes Key.
type Write struct {
	Key, Value []byte
	Deleted    bool
}

// Len returns the number of writes.
func (w *Writes) Len() int { return len(w.nodes) - 1 }

// All gives the writes in the order of their keys. An engine may keep the slices
// until Apply returns.
func (w *Writes) All() func(yield func(Write) bool) {
	return func(yield func(Write) bool) {
		for n := w.first(); n != 0; n = w.after(n) {
			if node := &w.nodes[n]; !yield(Write{node.key, node.value, node.deleted}) {
				return
			}
		}
	}
}

// first returns the node of the smallest key.
func (w *Writes) first() int32 { return w.links[0] }

// after returns the node that follows n.
func (w *Writes) after(n int32) int32 { return w.links[w.nodes[n].tower] }

// before returns the node of the largest key < key, or the last if key is nil.
func (w *Writes) before(key []byte) int32 {
	n := int32(0)
	for level := maxLevel - 1; level >= 0; level-- {
		for {
			next := w.links[int(w.nodes[n].tower)+level]
			if next == 0 || key != nil && compare(w.nodes[next].key, key) >= 0 {
				break
			}
			n = next
		}
	}
	return n
}

// atOrAfter returns the node of the smallest key >= key.
func (w *Writes) atOrAfter(key []byte) int32 {
	if key == nil {
		return w.first()
	}
	return w.after(w.before(key))
}

// find returns the node of key.
func (w *Writes) find(key []byte) int32 {
	if n := w.atOrAfter(key); n != 0 && bytes.Equal(w.nodes[n].key, key) {
		return n
	}
	return 0
}

// put sets node n, or adds one if n is 0.
func (w *Writes) put(n int32, key, value []byte, deleted bool) {
	if n != 0 {
		w.nodes[n].value, w.nodes[n].deleted = value, deleted
		return
	}
	var prev [maxLevel]int32
	at := int32(0)
	for level := maxLevel - 1; level >= 0; level-- {
		for {
			next := w.links[int(w.nodes[at].tower)+level]
			if next == 0 || compare(w.nodes[next].key, key) >= 0 {
				break
			}
			at = next
		}
		prev[level] = at
	}
	n = int32(len(w.nodes))
	tower := int32(len(w.links))
	w.nodes = append(w.nodes, writeNode{key: key, value: value, deleted: deleted, tower: tower})
	for level := range w.height() {
		p := int(w.nodes[prev[level]].tower) + level
		w.links = append(w.links, w.links[p])
		w.links[p] = n
	}
}

// height draws a tower's height by xorshift: the shape matters only for speed.
func (w *Writes) height() int {
	w.rnd ^= w.rnd << 13
	w.rnd ^= w.rnd >> 17
	w.rnd ^= w.rnd << 5
	h := 1
	for r := w.rnd; h < maxLevel && r&3 == 0; r >>= 2 {
		h++
	}
	return h
}
