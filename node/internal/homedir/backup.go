package homedir

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weftdb/weft/internal/fault"
)

// InBackup reports whether a file or folder of the home is in backups: who the
// node is, and blobs. The API's token and what runs are not.
func InBackup(name string) bool {
	switch top, rest, _ := strings.Cut(name, "/"); top {
	case fileVersion, fileIdentity, fileOf, fileDevice, fileCertificate, fileHub:
		return rest == ""
	case dirRelays:
		return !strings.Contains(rest, "/") && !strings.HasPrefix(rest, ".")
	case DirBlobs:
		base := name[strings.LastIndexByte(name, '/')+1:]
		_, err := hex.DecodeString(base)
		return rest == "" || err == nil // no file on its way
	}
	return false
}

// CheckEmpty refuses to restore over files: a home that is there has a device and data that
// nothing else has.
func CheckEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return fault.Of(ErrExists, "%s is not empty: restore into a new folder", dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("restore: %w", noFolder(err))
	}
	return nil
}
