package buckets

import "bytes"

// The beginning of a BSON element that is the name of a blob in an entry or a change of
// one: the type, the element's name, then the binary of 32 bytes with subtype 0.
//
//	05 "blob" 00 ‖ 20 00 00 00 00 ‖ 32 bytes        a leaf
//	05 "3"    00 ‖ 20 00 00 00 00 ‖ 32 bytes        of an array: a manifest
var (
	binary32    = []byte{32, 0, 0, 0, 0}
	blobElement = []byte("\x05blob\x00")
)

// Names calls named with what may be the name of a blob in bytes that hold BSON, which
// need not be an entry of a bucket: whoever deletes what nobody names has to keep too much
// rather than too little. manifest says that the blob may name others; [ManifestBlobs]
// finds them.
func Names(p []byte, named func(id BlobID, manifest bool)) {
	for from := 0; ; {
		i := bytes.Index(p[from:], binary32)
		if i < 0 {
			return
		}
		at := from + i
		if at+len(binary32)+32 > len(p) {
			return
		}
		named(BlobID(p[at+len(binary32):]), !bytes.HasSuffix(p[:at], blobElement))
		from = at + 1
	}
}

// ManifestBlobs returns the blobs that a manifest names; none if p is no manifest.
func ManifestBlobs(p []byte) (ids []BlobID) {
	leaves, err := decodeManifest(p)
	if err != nil {
		return nil
	}
	for _, l := range leaves {
		ids = append(ids, l.blob)
	}
	return ids
}
