package main

import (
	"fmt"
	"strings"
)

// A platform is what a binary runs on, as Go names it.
type platform struct{ os, arch string }

// platforms are those that a release has. What each needs is in docs/design/node.md.
var platforms = []platform{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
	{"android", "arm64"},
}

func (p platform) String() string { return p.os + "/" + p.arch }

// binary is the name of the program there.
func (p platform) binary() string {
	if p.os == "windows" {
		return "weft.exe"
	}
	return "weft"
}

// choose returns the platforms of a list.
func choose(list string) ([]platform, error) {
	if list == "" {
		return platforms, nil
	}
	var out []platform
	for name := range strings.SplitSeq(list, ",") {
		var found bool
		for _, p := range platforms {
			if p.String() == name {
				out, found = append(out, p), true
			}
		}
		if !found {
			return nil, fmt.Errorf("unknown platform %q: want of %v", name, platforms)
		}
	}
	return out, nil
}
