// Package fault is the one kind of error: a stable word of one closed list, and
// one sentence from the place where the error is made.
//
//	var ErrNotFound = fault.New(fault.NotFound, "not found")            a sentinel
//	fault.Of(ErrNotFound, "no collection %q", name)                     errors.Is(err, ErrNotFound)
//	fault.Errorf(fault.BadValue, "skip cannot be negative")             only its kind matters
//
// The kind is for programs, the sentence for people: it names no package and
// repeats no kind. Each way out (RPC status, MongoDB's codes, exit status,
// JSON) has one table from kinds to its own words, so whoever makes an error
// knows none of them.
//
// The package imports nothing of ours.
package fault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// An Error has a kind and a sentence. Errors of this type are made by [New],
// [Of] and [Errorf].
type Error struct {
	kind     Kind
	sentence string
	sentinel error // that errors.Is finds; nil for none
	wrapped  error // the sentence with what its %w gave; nil of New
}

// New returns an error of a kind, usually a sentinel: one that callers compare
// with errors.Is. The sentence stands alone if nobody says more with [Of].
func New(kind Kind, sentence string) error { return &Error{kind: kind, sentence: sentence} }

// Errorf returns an error of a kind with a sentence; %w wraps a cause, whose own
// kind no longer counts.
func Errorf(kind Kind, format string, args ...any) error {
	return build(kind, nil, fmt.Errorf(format, args...))
}

// Of returns an error that is sentinel to errors.Is, of its kind, with a sentence
// of its own in place of the sentinel's; %w wraps a cause.
func Of(sentinel error, format string, args ...any) error {
	return build(KindOf(sentinel), sentinel, fmt.Errorf(format, args...))
}

func build(kind Kind, sentinel, said error) error {
	return &Error{kind: kind, sentence: said.Error(), sentinel: sentinel, wrapped: said}
}

// Error returns the sentence.
func (e *Error) Error() string { return e.sentence }

// Kind returns the error's kind.
func (e *Error) Kind() Kind { return e.kind }

// Unwrap returns the sentinel that the error stands for and what it wraps.
func (e *Error) Unwrap() []error {
	var out []error
	if e.sentinel != nil {
		out = append(out, e.sentinel)
	}
	if e.wrapped != nil {
		out = append(out, e.wrapped)
	}
	return out
}

// A kinded error has a kind without being an [Error]: a refusal that travels to
// a peer, say.
type kinded interface {
	error
	Kind() Kind
}

// KindOf returns the kind of the first error in err's tree that has one. Errors
// of the standard library for a missing file, a refused one, a path that is none, a
// full disk and an ended context have theirs; all others are [Internal]. It is "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	if k, ok := errors.AsType[kinded](err); ok {
		return k.Kind()
	}
	for _, s := range [...]struct {
		err  error
		kind Kind
	}{
		{fs.ErrNotExist, NotFound},
		{fs.ErrExist, AlreadyExists},
		{fs.ErrPermission, PermissionDenied},
		{syscall.EROFS, PermissionDenied},
		{syscall.ENOTDIR, InvalidPath},
		{syscall.EISDIR, InvalidPath},
		{syscall.ENAMETOOLONG, InvalidPath},
		{syscall.ELOOP, InvalidPath},
		{context.DeadlineExceeded, Timeout},
		{context.Canceled, Canceled},
	} {
		if errors.Is(err, s.err) {
			return s.kind
		}
	}
	if NoRoom(err) {
		return DiskFull
	}
	return Internal
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }
