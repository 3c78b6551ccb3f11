package homedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/keys"
)

// secretPath returns the path of the key file of a relay, by its peer ID.
func (h *Home) secretPath(peer string) string { return h.Path(dirRelays, peer+".key") }

// KeepSecret writes the secret for a relay to its key file, or removes it.
func (h *Home) KeepSecret(peer string, passphrase []byte, secret *keys.APISecret) error {
	if secret == nil {
		if err := os.Remove(h.secretPath(peer)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(h.Path(dirRelays), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(h.secretPath(peer)); errors.Is(err, fs.ErrNotExist) {
		return keys.WriteKeyFile(h.secretPath(peer), keys.FileAPIKey, secret.Secret(), passphrase)
	}
	return keys.ReplaceKeyFile(h.secretPath(peer), keys.FileAPIKey, secret.Secret(), passphrase)
}

// Secret returns the secret for a relay, or nil.
func (h *Home) Secret(peer string, passphrase []byte) (*keys.APISecret, error) {
	s, err := keys.ReadKeyFile(h.secretPath(peer), keys.FileAPIKey, passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var secret *keys.APISecret
	if err == nil {
		if secret, err = keys.ParseAPISecret(string(s.Reveal())); err != nil {
			err = fault.Of(keys.ErrMalformed, "%s: %w", h.secretPath(peer), err)
		}
	}
	if errors.Is(err, keys.ErrMalformed) || errors.Is(err, keys.ErrKind) {
		err = fmt.Errorf("%w: restore it from a backup, or remove it and give the key again with weft relay add", err)
	}
	return secret, err
}
