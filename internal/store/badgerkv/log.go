package badgerkv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/internal/store"
)

// patience is how long badger may wait for room on the disk while it opens or
// closes. It tries once a second.
const patience = 5 * time.Second

// messages takes badger's messages: warnings and errors go to logf, and a flush that
// fails for want of room is noticed, which badger tells nobody else.
type messages struct {
	dir    string
	logf   func(format string, args ...any)
	space  *store.Space
	noRoom chan struct{} // has one when a flush has failed
	last   atomic.Int64  // when one did, in nanoseconds of the clock
}

func newMessages(dir string, o Options) *messages {
	return &messages{dir: dir, logf: o.Logf, space: o.Space, noRoom: make(chan struct{}, 1)}
}

func (m *messages) Debugf(string, ...any) {}
func (m *messages) Infof(string, ...any)  {}

func (m *messages) Warningf(format string, args ...any) {
	m.logf("badger: %s", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (m *messages) Errorf(format string, args ...any) {
	m.Warningf(format, args...)
	for _, a := range args {
		if err, ok := a.(error); ok && fault.NoRoom(err) {
			// Badger leaves what it wrote of the table, and its file open.
			if p, ok := errors.AsType[*fs.PathError](err); ok && filepath.Ext(p.Path) == ".sst" {
				_ = errors.Join(os.Truncate(p.Path, 0), os.Remove(p.Path)) // best effort
			}
			m.last.Store(time.Now().UnixNano())
			select {
			case m.noRoom <- struct{}{}:
			default:
			}
			// Badger tries again when this returns.
			m.space.Wait()
		}
	}
}

// full returns ErrDiskFull while flushes fail.
func (m *messages) full() error {
	if last := m.last.Load(); last == 0 || time.Since(time.Unix(0, last)) > 3*time.Second {
		return nil
	}
	return store.DiskFull(m.dir)
}

// bounded runs f, which badger may keep from ending for as long as the disk is full,
// and gives up after a while. What f returns after that goes to late.
func bounded[T any](m *messages, f func() (T, error), late func(T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	var timeout <-chan time.Time
	for {
		select {
		case r := <-done:
			return r.v, r.err
		case <-m.noRoom:
			if timeout == nil {
				timer := time.NewTimer(patience)
				defer timer.Stop()
				timeout = timer.C
			}
		case <-timeout:
			go func() {
				r := <-done
				late(r.v, r.err)
			}()
			var none T
			return none, store.DiskFull(m.dir)
		}
	}
}
