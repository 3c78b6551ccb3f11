package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// maxPassphrase bounds a passphrase, in bytes.
const maxPassphrase = 1 << 10

// unseal calls open, and again with the passphrase if it needs one and people
// are there to give it.
func (a *app) unseal(ctx context.Context, open func() error) error {
	err := open()
	if !errors.Is(err, keys.ErrPassphraseNeeded) {
		return err
	}
	if a.passphrase, err = a.ask(ctx, "Passphrase for "+a.home+": "); err != nil {
		return err
	}
	return open()
}

// choose asks for a new passphrase, twice, unless the environment has one.
func (a *app) choose(ctx context.Context) error {
	if a.passphrase != nil {
		return nil
	}
	first, err := a.ask(ctx, "New passphrase: ")
	if err != nil {
		return err
	}
	again, err := a.ask(ctx, "Repeat the passphrase: ")
	if err != nil {
		return err
	}
	if !bytes.Equal(first, again) {
		return usagef("the two passphrases differ: nothing was written")
	}
	a.passphrase = first
	return nil
}

// ask reads a passphrase from the terminal, which does not show it.
func (a *app) ask(ctx context.Context, prompt string) ([]byte, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, fault.Of(keys.ErrPassphraseNeeded, "a passphrase is needed for %s and there is no terminal to ask for it: set WEFT_PASSPHRASE", a.home)
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	// A read of a terminal cannot be cut short; if ctx ends, so does the process.
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	fmt.Fprint(a.err, prompt)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		got <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.err)
		return nil, errors.Join(ctx.Err(), term.Restore(int(f.Fd()), before))
	case g := <-got:
		fmt.Fprintln(a.err)
		if g.err != nil {
			return nil, fmt.Errorf("read the passphrase: %w", g.err)
		}
		if len(g.text) == 0 || len(g.text) > maxPassphrase {
			return nil, usagef("invalid passphrase: want 1 to %d bytes", maxPassphrase)
		}
		return g.text, nil
	}
}
