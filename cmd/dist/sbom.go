package main

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// sbom writes which modules a binary is made of, as the binary itself says.
func (r *release) sbom(p platform) error {
	info, err := buildinfo.ReadFile(r.built(p))
	if err != nil {
		return err
	}
	purl := func(path, version string) string { return "pkg:golang/" + path + "@" + version }
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{
		Timestamp: r.time.Format(time.RFC3339),
		Component: &cdx.Component{
			BOMRef: purl(info.Main.Path, r.version), Type: cdx.ComponentTypeApplication,
			Name: info.Main.Path, Version: r.version, PackageURL: purl(info.Main.Path, r.version),
		},
	}
	components := []cdx.Component{{
		BOMRef: purl("std", info.GoVersion), Type: cdx.ComponentTypeLibrary,
		Name: "std", Version: info.GoVersion, PackageURL: purl("std", info.GoVersion),
	}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		components = append(components, cdx.Component{
			BOMRef: purl(m.Path, m.Version), Type: cdx.ComponentTypeLibrary,
			Name: m.Path, Version: m.Version, PackageURL: purl(m.Path, m.Version),
		})
	}
	bom.Components = &components
	return r.write(fmt.Sprintf("weft-%s-%s-%s.cdx.json", r.version, p.os, p.arch), func(w io.Writer) error {
		e := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
		e.SetPretty(true)
		return e.Encode(bom)
	})
}
