package buckets

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	mh "github.com/multiformats/go-multihash"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/internal/fault"
)

// An entry is the decoded document of a path:
//
//	{_id: path, cid: string, size: int64, tsize: int64,
//	 v: {cid: {size: int64, tsize: int64, blob: binary | manifests: [binary…], replaces: [string…]}}}
//
// The fields outside v are of the last version written. If that one has left v,
// the version that is read is the last of v; if v is empty, the path is removed.
type entry struct {
	path     string
	current  string // CID of the version that is read; empty: removed
	versions map[string]version
	order    []string // the versions, in the document's order
}

// A version is one content of a path and where its bytes are. A file without
// bytes and the mark of an empty directory have neither blob nor manifests.
type version struct {
	cid       cid.Cid
	size      int64
	tsize     uint64
	blob      *BlobID  // of a file of one leaf
	manifests []BlobID // of a larger file, in order
}

// A change is one write on one entry.
type change struct {
	path     string
	version  *version // the new version; nil only drops versions
	replaces []string // CIDs of the versions that this write drops
}

// A scanned is where a scan came to.
type scanned struct {
	bad   []Note // documents that are not well formed
	read  int64  // documents, of every kind
	after string // the path of the last one
}

// entries is the collection under a bucket.
type entries interface {
	// get returns one entry, or ErrNotFound.
	get(ctx context.Context, path string) (entry, error)
	// scan reads at most limit documents (0: all) whose path begins with prefix
	// and comes after a path, in byte order, and calls fn with the entries that
	// they hold.
	scan(ctx context.Context, prefix, after string, limit int64, fn func(entry) error) (scanned, error)
	// apply writes changes, durably, and returns the paths that have a version
	// yet although their change only drops some.
	apply(ctx context.Context, changes []change) (left []string, err error)
	// state names the moment: equal states hold equal entries.
	state() [32]byte
}

func (e entry) version() version { return e.versions[e.current] }

func (e entry) isDir() bool { return strings.HasSuffix(e.path, "/") }

// public returns the entry as callers see it.
func (e entry) public() Entry {
	v := e.version()
	out := Entry{Path: e.path, CID: v.cid, Size: v.size, Tsize: v.tsize}
	for _, c := range e.order {
		if c != e.current {
			out.Conflicts = append(out.Conflicts, Version{CID: e.versions[c].cid, Size: e.versions[c].size})
		}
	}
	return out
}

// decodeEntry reads an entry document strictly: what passes on one replica
// passes on all, and its paths and CIDs can be used as they are.
func decodeEntry(doc bson.Raw) (entry, error) {
	var e entry
	var ok bool
	if e.path, ok = doc.Lookup("_id").StringValueOK(); !ok {
		return e, fault.Of(ErrMalformed, "entry without a path")
	}
	if err := CheckPath(e.path); err != nil {
		return e, err
	}
	if e.current, ok = doc.Lookup("cid").StringValueOK(); !ok {
		return e, fault.Of(ErrMalformed, "entry without a CID")
	}
	v, ok := doc.Lookup("v").DocumentOK()
	if !ok {
		return e, fault.Of(ErrMalformed, "entry without versions")
	}
	elements, err := v.Elements()
	if err != nil {
		return e, fault.Of(ErrMalformed, "the versions of the entry: %v", err)
	}
	e.versions = make(map[string]version, len(elements))
	for _, el := range elements {
		body, ok := el.Value().DocumentOK()
		if !ok {
			return e, fault.Of(ErrMalformed, "version %q of the entry: it is no document", el.Key())
		}
		ver, err := decodeVersion(el.Key(), body, e.isDir())
		if err != nil {
			return e, err
		}
		e.versions[el.Key()] = ver
		e.order = append(e.order, el.Key())
	}
	if len(e.order) == 0 {
		e.current = ""
		return e, nil
	}
	cur, ok := e.versions[e.current]
	if !ok {
		e.current = e.order[len(e.order)-1]
		return e, nil
	}
	size, sizeOK := doc.Lookup("size").Int64OK()
	tsize, tsizeOK := doc.Lookup("tsize").Int64OK()
	if !sizeOK || !tsizeOK || size != cur.size || uint64(tsize) != cur.tsize {
		return e, fault.Of(ErrMalformed, "the entry does not describe its version")
	}
	return e, nil
}

func (e entry) removed() bool { return e.current == "" }

func decodeVersion(key string, body bson.Raw, dir bool) (version, error) {
	bad := func(what string) (version, error) {
		return version{}, fault.Of(ErrMalformed, "version %q of the entry: %s", key, what)
	}
	c, err := cid.Decode(key)
	if err != nil || c.String() != key || c.Version() != 1 {
		return bad("CID")
	}
	if p := c.Prefix(); p.MhType != mh.SHA2_256 || p.MhLength != 32 {
		return bad("CID")
	}
	size, ok1 := body.Lookup("size").Int64OK()
	tsize, ok2 := body.Lookup("tsize").Int64OK()
	if !ok1 || !ok2 || size < 0 || tsize < size || size > MaxFile {
		return bad("size")
	}
	v := version{cid: c, size: size, tsize: uint64(tsize)}
	if b, err := body.LookupErr("blob"); err == nil {
		id, ok := blobID(b)
		if !ok {
			return bad("blob")
		}
		v.blob = &id
	}
	if m, err := body.LookupErr("manifests"); err == nil {
		if v.manifests, ok1 = blobIDs(m); !ok1 {
			return bad("manifests")
		}
	}
	if !v.wellFormed(dir) {
		return bad("shape")
	}
	return v, nil
}

// wellFormed reports whether the places of v's bytes fit its size and CID.
func (v version) wellFormed(dir bool) bool {
	switch {
	case dir:
		return v.cid.String() == emptyDirCID && v.size == 0 && v.tsize == emptyDirSize && v.blob == nil && v.manifests == nil
	case v.size == 0:
		return v.cid.String() == emptyFileCID && v.tsize == 0 && v.blob == nil && v.manifests == nil
	case v.size <= ChunkSize:
		return v.cid.Type() == cid.Raw && v.tsize == uint64(v.size) && v.blob != nil && v.manifests == nil
	}
	const per = leavesPerManifest * ChunkSize
	return v.cid.Type() == cid.DagProtobuf && v.blob == nil && int64(len(v.manifests)) == (v.size+per-1)/per
}

// The two contents that have no bytes.
const (
	emptyFileCID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
	emptyDirCID  = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
	emptyDirSize = 4
)

func blobID(v bson.RawValue) (BlobID, bool) {
	subtype, p, ok := v.BinaryOK()
	if !ok || subtype != bson.TypeBinaryGeneric || len(p) != len(BlobID{}) {
		return BlobID{}, false
	}
	return BlobID(p), true
}

func blobIDs(v bson.RawValue) ([]BlobID, bool) {
	arr, ok := v.ArrayOK()
	if !ok {
		return nil, false
	}
	values, err := arr.Values()
	if err != nil || len(values) == 0 || len(values) > maxManifests {
		return nil, false
	}
	ids := make([]BlobID, len(values))
	for i, v := range values {
		if ids[i], ok = blobID(v); !ok {
			return nil, false
		}
	}
	return ids, true
}

// update returns the update document of a change: the new version joins v and
// the ones that the writer saw leave it, so that versions written apart stay
// side by side and survive a removal.
func (c change) update() (bson.Raw, error) {
	doc := bson.D{}
	if v := c.version; v != nil {
		key := v.cid.String()
		body := bson.D{{Key: "size", Value: v.size}, {Key: "tsize", Value: int64(v.tsize)}}
		if v.blob != nil {
			body = append(body, bson.E{Key: "blob", Value: bson.Binary{Data: v.blob[:]}})
		}
		if v.manifests != nil {
			ids := make(bson.A, len(v.manifests))
			for i, id := range v.manifests {
				ids[i] = bson.Binary{Data: slices.Clone(id[:])}
			}
			body = append(body, bson.E{Key: "manifests", Value: ids})
		}
		body = append(body, bson.E{Key: "replaces", Value: slices.Clone(c.replaces)})
		doc = append(doc, bson.E{Key: "$set", Value: bson.D{
			{Key: "cid", Value: key}, {Key: "size", Value: v.size}, {Key: "tsize", Value: int64(v.tsize)}, {Key: "v." + key, Value: body},
		}})
	}
	gone := bson.D{}
	for _, old := range c.replaces {
		if c.version == nil || old != c.version.cid.String() {
			gone = append(gone, bson.E{Key: "v." + old, Value: ""})
		}
	}
	if len(gone) > 0 {
		doc = append(doc, bson.E{Key: "$unset", Value: gone})
	}
	raw, err := bson.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode change: %w", err)
	}
	return raw, nil
}
