package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weftdb/weft/cmd/weft/internal/tty"
	"github.com/weftdb/weft/internal/fault"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"

	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/client"
)

// A recoveryKey is where a new recovery key goes: to a file, or to people, once. Scripts get
// none unless they name a file: what is printed there ends in logs.
type recoveryKey struct {
	file string
	none bool
	made *os.File
}

func (k *recoveryKey) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.file, "recovery-file", "", "write a recovery key to this new file; - prints it")
	cmd.Flags().BoolVar(&k.none, "no-recovery", false, "make no recovery key, also on a terminal, where one is printed by default")
}

// wanted reports whether a key is to be made, having made the file that it goes to: a key
// that cannot be kept is not made.
func (k *recoveryKey) wanted(a *app) (bool, error) {
	switch {
	case k.none && k.file != "":
		return false, usagef("--recovery-file and --no-recovery exclude each other")
	case k.none:
		return false, nil
	case k.file == "":
		return terminal(a.out) && !a.json, nil
	case k.file == "-":
		return true, nil
	}
	f, err := os.OpenFile(k.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, fault.Of(node.ErrExists, "%s exists: a recovery key overwrites nothing", k.file)
	}
	k.made = f
	return err == nil, err
}

// drop removes the file of a key that was not made.
func (k *recoveryKey) drop() {
	if k.made != nil {
		_ = k.made.Close()
		_ = os.Remove(k.file)
	}
}

// keep puts a key where it goes; it returns what is to be printed of it.
func (k *recoveryKey) keep(key, name, id string) (shown string, err error) {
	if k.made == nil {
		return key, nil
	}
	_, err = fmt.Fprintf(k.made, "# The recovery key of the database %s, %s.\n"+
		"# Whoever has it can make itself the owner, once: keep it offline, apart from your devices.\n"+
		"# weft db recover NAME --key-file THIS-FILE\n%s\n", name, id, key)
	if err = errors.Join(err, k.made.Sync(), k.made.Close()); err != nil {
		return "", fmt.Errorf("the database is there, and its recovery key could not be written: %w: remove it with weft db rm, and make another", err)
	}
	return "", nil
}

// printRecovery shows a key to people.
func printRecovery(w io.Writer, key string) {
	if key != "" {
		fmt.Fprintf(w, "\nrecovery key, shown this once: whoever has it can make itself the owner, once. Keep it\n"+
			"offline, apart from your devices, for weft db recover. It is kept nowhere else.\n\n%s\n", key)
	}
}

type recoverableOutput struct {
	databaseOutput
	Recovery     string `json:"recovery,omitempty"`      // text of the recovery key
	RecoveryFile string `json:"recovery_file,omitempty"` // that it was written to
}

// printRecoverable prints a database, and its recovery key where that goes.
func (a *app) printRecoverable(k *recoveryKey, d *weftv1.Database, key string) error {
	out := recoverableOutput{databaseOutput: databaseOutput{d.GetId(), d.GetName(), d.GetDamage(), d.GetLost()}}
	if key != "" {
		var err error
		if out.Recovery, err = k.keep(key, out.Name, out.ID); err != nil {
			return err
		}
		if k.made != nil {
			out.RecoveryFile = k.file
		}
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s\n", tty.Printable(out.Name), out.ID)
		printRecovery(w, out.Recovery)
	})
}

func (a *app) dbCreate() *cobra.Command {
	var k recoveryKey
	cmd := a.newCommand("create NAME", "Create a database", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			wanted, err := k.wanted(a)
			if err != nil {
				return err
			}
			r, err := c.Databases.Create(ctx, connect.NewRequest(&weftv1.CreateDatabaseRequest{Name: args[0], Recoverable: wanted}))
			if err != nil {
				k.drop()
				return err
			}
			return a.printRecoverable(&k, r.Msg.GetDatabase(), r.Msg.GetRecovery())
		})
	cmd.Long = "Create a database of this identity, which is its owner.\n\n" +
		"With a recovery key, whoever has that can make itself the owner, once: for when the owner's\n" +
		"devices are lost (weft db recover). It also opens what is sealed meanwhile, at a relay, say.\n" +
		"On a terminal it is printed, once; scripts name a file for it with --recovery-file, or get none.\n" +
		"A database that was made without one never gets one."
	k.flags(cmd)
	return cmd
}

func (a *app) dbRecover() *cobra.Command {
	var k recoveryKey
	var file string
	cmd := a.newCommand("recover NAME --key-file FILE|-", "Become the owner of a database by its recovery key", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if file == "" {
				return usagef("name the file that holds the recovery key with --key-file; - reads it from standard input")
			}
			key, err := a.recoveryIn(file)
			if err != nil {
				return err
			}
			wanted, err := k.wanted(a)
			if err != nil {
				return err
			}
			r, err := c.Databases.Recover(ctx, connect.NewRequest(&weftv1.RecoverRequest{Name: args[0], Recovery: key, Recoverable: wanted}))
			if err != nil {
				k.drop()
				return err
			}
			return a.printRecoverable(&k, r.Msg.GetDatabase(), r.Msg.GetRecovery())
		})
	cmd.Long = "Become the owner of a database by its recovery key, for when the owner's devices are lost or\n" +
		"the owner is gone. This identity is the owner from then on, senior to all; the identity that\n" +
		"was the owner before is no member any more, with all its devices, and everybody else stays\n" +
		"what they are. The key that seals what is written is changed.\n\n" +
		"NAME is the database here, or, where it is not here, the name that it gets: all of it is then\n" +
		"fetched from a relay or a member in reach (weft relay add adds one). Of what the former owner\n" +
		"wrote only what this device has afterwards stays, so fetch it from where it is complete.\n\n" +
		"The key is used up. The next one is printed on a terminal, or written to --recovery-file.\n" +
		"Burn the old one: if it is used again by somebody who has not heard of this use, neither of\n" +
		"the two is the owner, what they wrote as such is void, and nobody's rights change any more;\n" +
		"weft db members shows everybody who used it. Members go on writing documents."
	cmd.Flags().StringVar(&file, "key-file", "", "file that holds the recovery key; - reads it from standard input")
	k.flags(cmd)
	return cmd
}

// recoveryIn reads a recovery key: the one line of a file that is no comment. No error
// repeats it.
func (a *app) recoveryIn(file string) (string, error) {
	r := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fault.Of(node.ErrInvalid, "the recovery key cannot be read: %v", err)
		}
		defer f.Close()
		r = f
	}
	var key string
	lines := bufio.NewScanner(io.LimitReader(r, maxLine))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if key != "" {
			return "", fault.Of(node.ErrInvalid, "%s holds several lines: a recovery key is one line, weft-recovery:…", file)
		}
		key = line
	}
	if err := lines.Err(); err != nil || key == "" {
		return "", fault.Of(node.ErrInvalid, "%s holds no recovery key, which is a line weft-recovery:…", file)
	}
	return key, nil
}
