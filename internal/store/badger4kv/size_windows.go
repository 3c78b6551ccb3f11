package badger4kv

import "io/fs"

// taken returns the bytes that a file may take on disk.
func taken(fi fs.FileInfo) int64 { return fi.Size() }
