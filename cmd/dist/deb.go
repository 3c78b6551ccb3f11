package main

import (
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

// service runs a relay that nobody logs in to; it is installed and not started.
//
//go:embed weft.service
var service []byte

// completionPaths are where the shells of Debian look.
var completionPaths = map[string]string{
	"weft.bash": "/usr/share/bash-completion/completions/weft",
	"_weft":     "/usr/share/zsh/vendor-completions/_weft",
	"weft.fish": "/usr/share/fish/vendor_completions.d/weft.fish",
}

// deb writes the package of a platform for Debian and what descends from it.
func (r *release) deb(p platform) error {
	var all files.Contents
	add := func(to, from string, mode os.FileMode) {
		all = append(all, &files.Content{
			Source: from, Destination: to,
			FileInfo: &files.ContentFileInfo{Mode: mode, MTime: r.time, Owner: "root", Group: "root"},
		})
	}
	unit := filepath.Join(r.work, "weft.service")
	if err := os.WriteFile(unit, service, 0o644); err != nil {
		return err
	}
	add("/usr/bin/weft", r.built(p), 0o755)
	add("/usr/lib/systemd/system/weft.service", unit, 0o644)
	add("/usr/share/doc/weft/README.md", filepath.Join(r.source, "README.md"), 0o644)
	add("/usr/share/doc/weft/CHANGELOG.md", filepath.Join(r.source, "CHANGELOG.md"), 0o644)
	add("/usr/share/doc/weft/copyright", filepath.Join(r.source, "LICENSE"), 0o644)
	pages, err := os.ReadDir(filepath.Join(r.work, dirMan))
	if err != nil {
		return err
	}
	for _, f := range pages {
		add("/usr/share/man/man1/"+f.Name(), filepath.Join(r.work, dirMan, f.Name()), 0o644)
	}
	for file, to := range completionPaths {
		add(to, filepath.Join(r.work, dirCompletions, file), 0o644)
	}
	// A version that comes after what it is made of: ~ sorts before the release.
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "weft", Arch: p.arch, Platform: "linux", Version: strings.Replace(r.version, "-", "~", 1), VersionSchema: "none",
		Section: "database", Priority: "optional", License: "Apache-2.0",
		Maintainer:  "The Weft authors <maintainers@weftdb.org>",
		Homepage:    "https://github.com/weftdb/weft",
		Description: "peer-to-peer embeddable database\n One program: daemon, relay, command line and local development mode of Weft.",
		MTime:       r.time, DisableGlobbing: true,
		Overridables: nfpm.Overridables{Contents: all, Deb: nfpm.Deb{Compression: "xz"}},
	})
	if err := nfpm.PrepareForPackager(info, "deb"); err != nil {
		return err
	}
	return r.write(fmt.Sprintf("weft_%s_%s.deb", info.Version, p.arch), func(w io.Writer) error {
		return deb.Default.Package(info, w)
	})
}
