// Package help says what commands are for: groups, an example for each, what was meant by a
// mistyped word.
package help

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// groups are the commands as help lists them: what a newcomer needs first stands first.
var groups = []struct {
	title    string
	commands []string
}{
	{"Start here:", []string{"init", "daemon", "dev", "shell"}},
	{"Documents:", []string{"insert", "find", "get", "count", "update", "replace", "delete", "aggregate", "distinct", "watch", "run"}},
	{"Databases, collections and files:", []string{"db", "collection", "index", "bucket", "import", "export"}},
	{"Other devices and relays:", []string{"device", "relay", "key", "inbox", "peers", "refused", "conflicts"}},
	{"This node:", []string{"status", "id", "backup", "restore", "doctor", "home", "dag", "version", "completion", "help"}},
}

// Examples are command lines that can be copied, by command.
var Examples = map[string]string{
	"init":    "weft init\nweft init --passphrase\nweft init --device --name phone",
	"daemon":  "weft daemon\nweft daemon --local\nweft daemon --relay --init\nweft daemon --hub --listen :443 --tls-cert hub.pem --tls-key hub.key --public-url https://hub.example.com",
	"dev":     "weft dev",
	"shell":   "weft shell atlas",
	"id":      "weft id",
	"status":  "weft status",
	"peers":   "weft peers",
	"version": "weft version --json",

	"key create":  "weft key create --type user --name 'my app'\nweft key create --type user --expires 720h",
	"key ls":      "weft key ls",
	"key show":    "weft key show KEY",
	"key revoke":  "weft key revoke KEY",
	"relay add":   "weft relay add ADDRESS --key KEY --secret SECRET\nweft relay add ADDRESS --db atlas",
	"relay ls":    "weft relay ls",
	"relay rm":    "weft relay rm ADDRESS",
	"db create":   "weft db create atlas\nweft db create atlas --recovery-file atlas.recovery",
	"db recover":  "weft db recover atlas --key-file atlas.recovery",
	"db ls":       "weft db ls",
	"db info":     "weft db info atlas",
	"db status":   "weft db status atlas\nweft db status atlas --wait identical\nweft db status atlas --watch",
	"db invite":   "weft db invite atlas\nweft db invite atlas --uses 5 --expires 1h",
	"db invites":  "weft db invites atlas",
	"db revoke":   "weft db revoke atlas INVITE",
	"db join":     "weft db join weft:URL --name atlas\nweft db join -",
	"db members":  "weft db members atlas",
	"db admit":    "weft db admit atlas JOIN",
	"db role":     "weft db role atlas WHO admin",
	"db leave":    "weft db leave atlas",
	"db transfer": "weft db transfer atlas WHO",
	"db rotate":   "weft db rotate atlas",

	"db remove-member": "weft db remove-member atlas WHO",

	"device add":    "weft device add REQUEST\nweft device add phone --db atlas",
	"device accept": "weft device accept REPLY\nweft device accept -",
	"device ls":     "weft device ls",
	"device rm":     "weft device rm phone",

	"db compact":   "weft db compact atlas",
	"db erase":     "weft db erase atlas cities berlin",
	"db rm":        "weft db rm atlas",
	"db import":    "weft db import atlas --threaddb folder",
	"index create": "weft index create atlas cities country\nweft index create atlas cities country population:desc --unique",
	"index ls":     "weft index ls atlas cities",
	"index rm":     "weft index rm atlas cities country_1",

	"collection create": "weft collection create atlas cities\nweft collection create atlas cities --schema schema.json",
	"collection update": "weft collection update atlas cities --schema schema.json --dry-run",
	"collection ls":     "weft collection ls atlas",
	"collection show":   "weft collection show atlas cities",
	"collection rm":     "weft collection rm atlas cities",
	"bucket rm":         "weft bucket rm album notes/first.txt\nweft bucket rm album notes/\nweft bucket rm album",

	"insert": "weft insert atlas cities \"{name: 'Vaduz', country: 'LI'}\"\nweft insert atlas cities -",
	"import": "weft import atlas cities cities.jsonl.gz\nweft import atlas cities cities.csv --on-duplicate skip\nweft import copy atlas.jsonl.gz",
	"export": "weft export atlas\nweft export atlas cities --query \"{country: 'LI'}\"\n" +
		"weft export atlas cities --type csv --fields name,country",
	"find": "weft find atlas cities\nweft find atlas cities \"{country: 'LI'}\" --sort -population,name --limit 3\n" +
		"weft find atlas cities --projection name,country --table",
	"get": "weft get atlas cities 1",
	"run": "weft run atlas \"{distinct: 'cities', key: 'country'}\"",
	"aggregate": "weft aggregate atlas cities \"[{$group: {_id: '$country', people: {$sum: '$population'}}}]\"\n" +
		"weft aggregate atlas cities \"[{$match: {country: 'LI'}}, {$out: 'small'}]\"",
	"distinct":  "weft distinct atlas cities country",
	"conflicts": "weft conflicts atlas",
	"update": "weft update atlas cities \"{name: 'Vaduz'}\" \"{$inc: {population: 1}}\"\n" +
		"weft update atlas cities {} \"[{$set: {label: '$name'}}]\" --many",
	"replace": "weft replace atlas cities \"{_id: 1}\" \"{name: 'Vaduz'}\"",
	"delete":  "weft delete atlas cities \"{country: 'LI'}\" --many",
	"count":   "weft count atlas cities \"{population: {$gte: 100000}}\"",
	"watch":   "weft watch atlas\nweft watch atlas cities \"{country: 'LI'}\" --match either",
	"refused": "weft refused atlas --unhandled\nweft refused atlas --retry STAMP",

	"bucket create": "weft bucket create album\nweft bucket create album --db atlas",
	"bucket ls":     "weft bucket ls\nweft bucket ls album notes/",
	"bucket root":   "weft bucket root album",
	"bucket push":   "weft bucket push album folder",
	"bucket pull":   "weft bucket pull album folder",
	"bucket cat":    "weft bucket cat album notes/first.txt",
	"dag get":       "weft dag get CID/notes",
	"inbox setup":   "weft inbox setup",
	"inbox send":    "weft inbox send did:key:z6Mk… 'a text'",
	"inbox ls":      "weft inbox ls",
	"inbox read":    "weft inbox read ID",
	"inbox rm":      "weft inbox rm ID",
	"inbox sent":    "weft inbox sent",
	"inbox watch":   "weft inbox watch --unread",
	"backup":        "weft backup home.weft\nweft backup home.weft --passphrase",
	"restore":       "weft restore home.weft --home folder",
	"doctor":        "weft doctor\nweft doctor --repair",
	"home convert":  "weft home convert --engine pebble",
}

// Describe gives each command of root its group and its examples.
func Describe(root *cobra.Command) {
	group := map[string]string{}
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, name := range g.commands {
			group[name] = g.title
		}
	}
	root.SetHelpCommandGroupID(group["help"])
	root.SetCompletionCommandGroupID(group["completion"])
	for _, cmd := range root.Commands() {
		cmd.GroupID = group[cmd.Name()]
	}
	var each func(cmd *cobra.Command)
	each = func(cmd *cobra.Command) {
		cmd.SuggestionsMinimumDistance = 2
		if text := Examples[strings.TrimPrefix(cmd.CommandPath(), "weft ")]; text != "" {
			cmd.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
		for _, c := range cmd.Commands() {
			each(c)
		}
	}
	each(root)
}

// Meant asks whether one of names was meant; "" for none.
func Meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ": did you mean " + strings.Join(names, " or ") + "?"
}

// CommandsLike returns the commands that a mistyped word may stand for. In a word of up to four
// letters one may be wrong: with two it is another word.
func CommandsLike(cmd *cobra.Command, word string) []string {
	if utf8.RuneCountInString(word) > 4 {
		return cmd.SuggestionsFor(word)
	}
	defer func(least int) { cmd.SuggestionsMinimumDistance = least }(cmd.SuggestionsMinimumDistance)
	cmd.SuggestionsMinimumDistance = 1
	return cmd.SuggestionsFor(word)
}

// FlagsLike returns the flags of a command that a mistyped name may stand for.
func FlagsLike(cmd *cobra.Command, name string) []string {
	var out []string
	// Cobra knows how far words are apart, of commands only.
	names := &cobra.Command{Use: "flags", SuggestionsMinimumDistance: 2}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
		}
	})
	for _, like := range names.SuggestionsFor(name) {
		out = append(out, "--"+like)
	}
	slices.Sort(out)
	return out
}
