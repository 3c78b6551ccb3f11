package node

import (
	"context"
	"os"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store/engines"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node/internal/homedir"
)

// What a home's folder says to who does not open it as a node: see package homedir.
type (
	// A Daemon says where the daemon of a home listens.
	Daemon = homedir.Daemon
	// DeviceOptions say how a home becomes a device's.
	DeviceOptions = homedir.DeviceOptions
)

// DefaultHome returns WEFT_HOME or ~/.weft.
func DefaultHome() (string, error) { return homedir.Default() }

// ReadToken returns the administrator's token of a home, which calls of its
// API carry as "Authorization: Bearer …". A token that others can read is
// refused.
func ReadToken(dir string) (keys.Secret, error) { return homedir.ReadToken(dir) }

// ReadDaemon returns what the daemon of a home said of itself when it started;
// it may have been killed since. Without one the error is fs.ErrNotExist.
func ReadDaemon(dir string) (Daemon, error) { return homedir.ReadDaemon(dir) }

// RequestDevice makes a home that waits to be a device of an identity which another home
// has, and returns its request, which is no secret: [Node.AddDevice] answers it. In a home
// that waits already it returns the same. [ErrExists] says that the home is somebody's.
func RequestDevice(ctx context.Context, dir string, o DeviceOptions) (request string, err error) {
	return homedir.Request(ctx, dir, o)
}

// BecomeDevice makes a home that waits a device of the identity which wrote the reply; of any
// other home it does nothing. [Node.AcceptDevice] then takes the databases of the reply.
func BecomeDevice(ctx context.Context, dir, reply string, o DeviceOptions) error {
	return homedir.Become(ctx, dir, reply, o)
}

// Waits reports whether the home in a folder waits to be a device of an identity.
func Waits(dir string) bool { return homedir.Waits(dir) }

// memoryHome makes the temporary folder of a node in memory.
func memoryHome(c Config) (string, error) {
	if c.Home != "" || c.Engine != "" && c.Engine != engines.Default {
		return "", fault.Of(ErrInvalid, "a node in memory has no home and no engine to choose: leave Config.Home and Config.Engine empty")
	}
	return os.MkdirTemp("", "weft-memory-")
}
