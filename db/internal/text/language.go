package text

import (
	"strings"

	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/danish"
	"github.com/blevesearch/snowballstem/dutch"
	"github.com/blevesearch/snowballstem/english"
	"github.com/blevesearch/snowballstem/finnish"
	"github.com/blevesearch/snowballstem/french"
	"github.com/blevesearch/snowballstem/german"
	"github.com/blevesearch/snowballstem/hungarian"
	"github.com/blevesearch/snowballstem/italian"
	"github.com/blevesearch/snowballstem/norwegian"
	"github.com/blevesearch/snowballstem/portuguese"
	"github.com/blevesearch/snowballstem/romanian"
	"github.com/blevesearch/snowballstem/russian"
	"github.com/blevesearch/snowballstem/spanish"
	"github.com/blevesearch/snowballstem/swedish"
	"github.com/blevesearch/snowballstem/turkish"
	stopen "github.com/kljensen/snowball/english"
	stopfr "github.com/kljensen/snowball/french"
	stophu "github.com/kljensen/snowball/hungarian"
	stopno "github.com/kljensen/snowball/norwegian"
	stopru "github.com/kljensen/snowball/russian"
	stopes "github.com/kljensen/snowball/spanish"
	stopsv "github.com/kljensen/snowball/swedish"
)

// A language says how words are reduced to stems and which are left out; either
// may be nil.
type language struct {
	stem func(*snowballstem.Env) bool
	stop func(word string) bool
}

// languages are MongoDB's, by name and code.
var languages = byName(map[string]*language{
	"none":          {},
	"danish da":     {stem: danish.Stem},
	"dutch nl":      {stem: dutch.Stem},
	"english en":    {english.Stem, stopen.IsStopWord},
	"finnish fi":    {stem: finnish.Stem},
	"french fr":     {french.Stem, stopfr.IsStopWord},
	"german de":     {stem: german.Stem},
	"hungarian hu":  {hungarian.Stem, stophu.IsStopWord},
	"italian it":    {stem: italian.Stem},
	"norwegian nb":  {norwegian.Stem, stopno.IsStopWord},
	"portuguese pt": {stem: portuguese.Stem},
	"romanian ro":   {stem: romanian.Stem},
	"russian ru":    {russian.Stem, stopru.IsStopWord},
	"spanish es":    {spanish.Stem, stopes.IsStopWord},
	"swedish sv":    {swedish.Stem, stopsv.IsStopWord},
	"turkish tr":    {stem: turkish.Stem},
})

// byName enters each language under all its names.
func byName(in map[string]*language) map[string]*language {
	out := make(map[string]*language, 2*len(in))
	for names, l := range in {
		for name := range strings.FieldsSeq(names) {
			out[name] = l
		}
	}
	return out
}
