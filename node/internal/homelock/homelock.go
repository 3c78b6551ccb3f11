// Package homelock keeps a home to one process.
package homelock

import "github.com/weftdb/weft/internal/fault"

// ErrHeld reports a home that another process has open.
var ErrHeld = fault.New(fault.HomeInUse, "the home is in use by another process")
