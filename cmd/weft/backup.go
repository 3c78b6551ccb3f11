package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"connectrpc.com/connect"
	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/cmd/weft/internal/report"
	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/cmd/weft/internal/words"
	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

// ageIntro begins a file that age sealed.
const ageIntro = "age-encryption.org/"

// A backupOutput says what a backup holds.
type backupOutput struct {
	File string `json:"file"`
	node.Manifest
	PassphraseSealed bool `json:"passphraseSealed"` // the file itself
}

func (o backupOutput) print(w io.Writer, done string) {
	fmt.Fprintf(w, "%s %s: %s, %s in the store (%s), %s (%s)\n", done, o.File, words.Count(int64(len(o.Databases)), "database"),
		words.Count(o.Store.Count, "key"), words.Size(o.Store.Bytes), words.Count(o.Files.Count, "file"), words.Size(o.Files.Bytes))
	for _, d := range o.Databases {
		report.WriteLacks(w, d.Name, d.Lacks)
	}
	for _, t := range o.Threads {
		report.WriteLacks(w, report.NameOf("", t.ID), t.Lacks)
	}
}

func (a *app) backupCommand() *cobra.Command {
	var sealed bool
	cmd := a.newCommand("backup FILE|-", "Write everything in the home to a file, also while the daemon runs", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if args[0] == "-" && terminal(a.out) {
				return usagef("a backup is no text: name a file, or send standard output to one")
			}
			stream, err := c.Node.Backup(ctx, connect.NewRequest(&weftv1.BackupRequest{}))
			if err != nil {
				return err
			}
			out := backupOutput{File: args[0], PassphraseSealed: sealed}
			write := func(w io.Writer) error { return a.receiveBackup(w, stream, sealed, &out.Manifest) }
			if args[0] == "-" {
				return errors.Join(write(tty.Raw(a.out)), stream.Close())
			}
			err = writeNew(args[0], write, func(r io.Reader) error { return a.readBack(ctx, r, sealed, out.Manifest) })
			if err = errors.Join(err, stream.Close()); err != nil {
				return err
			}
			if !sealed && !a.json {
				fmt.Fprintf(a.err, "weft: note: whoever has %s has this home's documents%s: keep it safe, or seal it with --passphrase\n",
					args[0], map[bool]string{false: " and keys"}[out.Sealed])
			}
			return a.print(out, func(w io.Writer) { out.print(w, "wrote") })
		})
	cmd.Long = cmd.Short + ".\n\nThe file holds the identity, the device, and all databases and files as of one moment.\n" +
		"With --passphrase it is sealed (age); the passphrase comes from WEFT_BACKUP_PASSPHRASE or is asked for twice."
	cmd.Flags().BoolVar(&sealed, "passphrase", false, "seal the file with a passphrase")
	return cmd
}

// writeNew writes a file that is there whole or not at all, and was not there
// before; only its owner can read it. What check reads is what is on the disk.
func writeNew(name string, write func(io.Writer) error, check func(io.Reader) error) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fault.Of(node.ErrExists, "%s already exists", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		failed.Path = name // the other name is nobody's business
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	b := bufio.NewWriterSize(f, 256<<10)
	if err := errors.Join(write(b), b.Flush(), f.Sync()); err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = f.Seek(0, io.SeekStart)
	if err == nil {
		err = check(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// readBack reads a backup that was written and compares it with its manifest.
func (a *app) readBack(ctx context.Context, r io.Reader, sealed bool, want node.Manifest) error {
	if sealed {
		id, err := age.NewScryptIdentity(a.sealedWith)
		if err != nil {
			return err
		}
		if r, err = age.Decrypt(r, id); err != nil {
			return fault.Of(node.ErrBackup, "the backup that was written does not open")
		}
	}
	m, err := node.VerifyBackup(ctx, r)
	if err == nil && (m.Store != want.Store || m.Files != want.Files) {
		err = fault.Of(node.ErrBackup, "the backup that was written is another than was sent")
	}
	return err
}

// receiveBackup writes the bytes of a backup, sealed or not.
func (a *app) receiveBackup(w io.Writer, stream *connect.ServerStreamForClient[weftv1.BackupResponse], sealed bool, m *node.Manifest) error {
	out := io.WriteCloser(plainCloser{w})
	if sealed {
		passphrase, err := a.backupPassphrase(true)
		if err != nil {
			return err
		}
		a.sealedWith = passphrase
		to, err := age.NewScryptRecipient(passphrase)
		if err != nil {
			return err
		}
		if out, err = age.Encrypt(w, to); err != nil {
			return err
		}
	}
	whole := false
	for stream.Receive() {
		if text := stream.Msg().GetManifest(); len(text) > 0 {
			if err := json.Unmarshal(text, m); err != nil {
				return err
			}
			whole = true
			continue
		}
		if _, err := out.Write(stream.Msg().GetData()); err != nil {
			return err
		}
	}
	err := stream.Err()
	if err == nil && !whole {
		err = node.ErrClosed
	}
	return errors.Join(err, out.Close())
}

// plainCloser is a writer whose Close does nothing.
type plainCloser struct{ io.Writer }

func (plainCloser) Close() error { return nil }

// backupPassphrase returns the passphrase of a backup's file: that of the
// environment, or what people type, twice for a new one.
func (a *app) backupPassphrase(fresh bool) (string, error) {
	if p := os.Getenv("WEFT_BACKUP_PASSPHRASE"); p != "" {
		return p, nil
	}
	ctx := context.Background()
	first, err := a.ask(ctx, "Passphrase for the backup: ")
	if errors.Is(err, keys.ErrPassphraseNeeded) {
		return "", fault.Of(keys.ErrPassphraseNeeded, "a passphrase is needed for the backup and there is no terminal to ask for it: set WEFT_BACKUP_PASSPHRASE")
	}
	if err != nil || !fresh {
		return string(first), err
	}
	again, err := a.ask(ctx, "Repeat the passphrase: ")
	if err == nil && !bytes.Equal(first, again) {
		err = usagef("the two passphrases differ: nothing was written")
	}
	return string(first), err
}

func (a *app) restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore FILE|-", Short: "Restore a home from a backup and check all of it", Args: args(1, 1),
		RunE: func(cmd *cobra.Command, given []string) error {
			if a.api != "" {
				return usagef("restore creates a home: omit --api and WEFT_API")
			}
			return a.restore(cmd.Context(), given[0])
		},
	}
	cmd.Long = cmd.Short + ".\n\nThe home must be empty or not exist. Every hash is compared and every database is read whole before the home appears.\n" +
		"The restored node continues as the same device, in new logs; do not run the one that was backed up at the same time."
	return cmd
}

func (a *app) restore(ctx context.Context, name string) error {
	in := a.input
	var length int64 = -1
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		if info, err := f.Stat(); err == nil {
			length = info.Size()
		}
		in = f
	}
	b := bufio.NewReaderSize(io.TeeReader(in, a.progress(length, "restore")), 64<<10)
	r := io.Reader(b)
	if intro, _ := b.Peek(len(ageIntro)); string(intro) == ageIntro {
		passphrase, err := a.backupPassphrase(false)
		if err != nil {
			return err
		}
		id, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return err
		}
		if r, err = age.Decrypt(b, id); err != nil {
			return fault.Of(keys.ErrPassphraseWrong, "%s: %w", name, keys.ErrPassphraseWrong)
		}
	}
	out := backupOutput{File: name}
	m, err := node.Restore(ctx, r, node.RestoreOptions{Home: a.home, Passphrase: a.passphrase})
	if errors.Is(err, keys.ErrPassphraseNeeded) {
		return fault.Of(keys.ErrPassphraseNeeded, "the keys in the backup are sealed: set WEFT_PASSPHRASE to the passphrase of the home that was backed up")
	}
	if ctx.Err() != nil {
		return ctx.Err() // what was read of it until then says nothing
	}
	if err != nil {
		return err
	}
	out.Manifest = m
	return a.print(out, func(w io.Writer) {
		out.print(w, "restored")
		fmt.Fprintf(w, "home      %s\nidentity  %s\npeer      %s\n", a.home, m.Identity, m.Peer)
	})
}
