package db

import "github.com/weftdb/weft/db/internal/value"

// An Error is a refusal with MongoDB's error code and code name, such as 11000
// and "DuplicateKey". Filters, updates, documents and definitions that are
// refused give one.
type Error = value.Error
