package buckets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
)

// A File is one thing of a folder on its way into a bucket.
type File struct {
	// Path is "a/b.txt"; that of a directory, which is empty or cannot be read,
	// ends in "/".
	Path string
	Size int64 // bytes, as the folder states them
	// Body gives the bytes. It is valid during the call that brings the File; it
	// may be an io.Seeker. Directories, and files that are left out, have none.
	Body io.Reader
	// Reason says why it is left out; "" means that it is not.
	Reason string
}

// Walk calls take with the regular files of a folder in order of their names,
// with its empty directories, and with what cannot be pushed and why: links,
// devices, what cannot be read, and names that the path rules refuse.
func Walk(ctx context.Context, fsys fs.FS, take func(File) error) error {
	w := walk{fsys: fsys, take: take}
	_, err := w.folder(ctx, ".", 0)
	return err
}

type walk struct {
	fsys fs.FS
	take func(File) error
}

// folder walks what is below dir and returns how many entries that makes.
func (w *walk) folder(ctx context.Context, dir string, depth int) (int, error) {
	list, err := fs.ReadDir(w.fsys, dir)
	if err != nil && len(list) == 0 {
		if depth == 0 {
			return 0, fmt.Errorf("push: %w", err)
		}
		// It is not known to be empty.
		return 1, w.take(File{Path: dir + "/", Reason: "cannot be read: " + cause(err)})
	}
	made := 0
	for _, d := range list {
		if err := ctx.Err(); err != nil {
			return made, err
		}
		n, err := w.one(ctx, path.Join(dir, d.Name()), d, depth)
		if err != nil {
			return made, err
		}
		made += n
	}
	if made == 0 && depth > 0 {
		return 1, w.take(File{Path: dir + "/"})
	}
	return made, nil
}

// one walks one directory entry.
func (w *walk) one(ctx context.Context, name string, d fs.DirEntry, depth int) (int, error) {
	leave := func(reason string) (int, error) { return 0, w.take(File{Path: name, Reason: reason}) }
	if depth == 0 && d.Name() == pullFolder {
		return leave("is the folder of a pull that did not end")
	}
	if err := CheckPath(name); err != nil {
		return leave(err.Error())
	}
	switch {
	case d.IsDir():
		return w.folder(ctx, name, depth+1)
	case d.Type()&fs.ModeSymlink != 0:
		return leave("is a symbolic link")
	case !d.Type().IsRegular():
		return leave("is not a regular file")
	}
	return 1, w.file(name)
}

// cause is why a call of the system failed, without the call and the file, which is named beside.
func cause(err error) string {
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		err = failed.Err
	}
	return err.Error()
}

func (w *walk) file(name string) error {
	f, err := w.fsys.Open(name)
	if err != nil {
		return w.take(File{Path: name, Reason: "cannot be read: " + cause(err)})
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return w.take(File{Path: name, Reason: "cannot be read: " + cause(err)})
	}
	return w.take(File{Path: name, Size: info.Size(), Body: f})
}
