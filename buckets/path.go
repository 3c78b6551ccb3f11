package buckets

import (
	"strings"
	"unicode/utf8"

	"github.com/weftdb/weft/internal/fault"
)

// CheckPath returns an error that wraps ErrPath unless p is a path that a bucket
// may hold: 1 to 100 segments joined by "/", valid UTF-8 (kept as it is, not
// normalised), at most 4 KiB, no segment empty, "." or "..", no NUL, no control
// character and no backslash. A final "/" marks an empty directory.
func CheckPath(p string) error {
	switch {
	case len(p) == 0:
		return fault.Of(ErrPath, "the path is empty")
	case len(p) > MaxPath:
		return fault.Of(ErrPath, "the path has %d bytes, at most %d are allowed", len(p), MaxPath)
	case !utf8.ValidString(p):
		return fault.Of(ErrPath, "the path %q is not UTF-8", p)
	}
	segments := strings.Split(strings.TrimSuffix(p, "/"), "/")
	if len(segments) > MaxDepth {
		return fault.Of(ErrPath, "the path has %d segments, at most %d are allowed", len(segments), MaxDepth)
	}
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return fault.Of(ErrPath, "the path %q has a segment %q", p, s)
		}
		if i := strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }); i >= 0 {
			return fault.Of(ErrPath, "the path %q has a control character or a backslash", p)
		}
	}
	return nil
}

// CheckName returns ErrName unless name can name a bucket.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > 63 {
		return fault.Of(ErrName, "invalid bucket name %q: want 1 to 63 lower-case letters, digits, dots, dashes and underscores, a letter or digit first", name)
	}
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fault.Of(ErrName, "invalid bucket name %q: want 1 to 63 lower-case letters, digits, dots, dashes and underscores, a letter or digit first", name)
		}
	}
	return nil
}
