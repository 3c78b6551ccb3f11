package buckets

import (
	"github.com/weftdb/weft/internal/canonical"
	"github.com/weftdb/weft/internal/fault"
)

const (
	manifestVersion = 1
	// leavesPerManifest is the most leaves of a manifest: 1 GiB of file.
	leavesPerManifest = 4096
	// maxManifests is the most manifests of a file.
	maxManifests = 1024
)

// manifest is the wire form of the leaves of one stretch of a file, in order:
//
//	[version=1, suite=1, [[sum bytes32, size uint, blob bytes32]…]]
//
// in canonical DAG-CBOR. Every leaf but the file's last has ChunkSize bytes, and
// every manifest but the file's last has leavesPerManifest leaves.
type manifest struct {
	_       struct{} `cbor:",toarray"`
	Version uint64
	Suite   canonical.Suite // of the hashes
	Leaves  []manifestLeaf
}

type manifestLeaf struct {
	_    struct{} `cbor:",toarray"`
	Sum  []byte
	Size uint64
	Blob []byte
}

var codec = canonical.New(canonical.Options{
	Version: manifestVersion, Elements: leavesPerManifest, Nesting: 4,
	Malformed: ErrMalformed, TooLarge: ErrMalformed, UnknownVersion: ErrMalformed,
})

func encodeManifest(leaves []leaf) []byte {
	m := manifest{Version: manifestVersion, Suite: canonical.SuiteX25519, Leaves: make([]manifestLeaf, len(leaves))}
	for i, l := range leaves {
		m.Leaves[i] = manifestLeaf{Sum: l.sum[:], Size: uint64(l.size), Blob: l.blob[:]}
	}
	return codec.Encode(&m)
}

// decodeManifest parses a manifest; anything but the canonical form of one
// returns ErrMalformed.
func decodeManifest(p []byte) ([]leaf, error) {
	var m manifest
	if err := codec.DecodeVersioned(p, MaxBlob, "manifest", &m); err != nil {
		return nil, err
	}
	if err := codec.CheckSuite(m.Suite, "manifest"); err != nil {
		return nil, err
	}
	if len(m.Leaves) == 0 {
		return nil, fault.Of(ErrMalformed, "manifest without leaves")
	}
	leaves := make([]leaf, len(m.Leaves))
	for i, l := range m.Leaves {
		last := i == len(m.Leaves)-1
		if len(l.Sum) != 32 || len(l.Blob) != 32 || l.Size == 0 || l.Size > ChunkSize || !last && l.Size != ChunkSize {
			return nil, fault.Of(ErrMalformed, "leaf %d of the manifest is not in its form", i)
		}
		leaves[i] = leaf{sum: [32]byte(l.Sum), size: int64(l.Size), blob: BlobID(l.Blob)}
	}
	return leaves, nil
}
