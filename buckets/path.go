package buckets

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// CheckPath returns an error that wraps ErrPath unless p is a path that a bucket
// may hold: 1 to 100 segments joined by "/", valid UTF-8 (kept as it is, not
// normalised), at most 4 KiB, no segment empty, "." or "..", no NUL, no control
// character and no backslash. A final "/" marks an empty directory.
func CheckPath(p string) error {
	switch {
	case len(p) == 0:
		return fmt.Errorf("%w: it is empty", ErrPath)
	case len(p) > MaxPath:
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrPath, len(p), MaxPath)
	case !utf8.ValidString(p):
		return fmt.Errorf("%w: %q is not UTF-8", ErrPath, p)
	}
	segments := strings.Split(strings.TrimSuffix(p, "/"), "/")
	if len(segments) > MaxDepth {
		return fmt.Errorf("%w: %d segments, at most %d are allowed", ErrPath, len(segments), MaxDepth)
	}
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return fmt.Errorf("%w: %q has a segment %q", ErrPath, p, s)
		}
		if i := strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }); i >= 0 {
			return fmt.Errorf("%w: %q has a control character or a backslash", ErrPath, p)
		}
	}
	return nil
}

// checkName returns ErrName unless name can name a bucket.
func checkName(name string) error {
	if len(name) == 0 || len(name) > 63 {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	for i, r := range name {
		alnum := r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		if !alnum && (i == 0 || !strings.ContainsRune("._-", r)) {
			return fmt.Errorf("%w: %q", ErrName, name)
		}
	}
	return nil
}
