package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/internal/judge"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// changeOf reads the fields that create and collMod share. An empty validator removes the
// schema, and is not the same as none, which keeps it: so both are told apart here, by the
// empty document and nil. A validator is a schema and nothing else; MongoDB's query
// operators in one are refused.
func changeOf(cmd bson.Raw) (c db.CollectionChange, err error) {
	if v := value.Get(cmd, "validator"); v.Exists() {
		if !v.IsDoc() {
			return c, fault.Errorf(fault.TypeMismatch, "validator must be a document")
		}
		c.Schema = bson.Raw{5, 0, 0, 0, 0}
		if len(v.Data) > 5 {
			c.Schema = sub(v.Data, "$jsonSchema")
			if c.Schema == nil || count(v.Data) != 1 {
				return c, fault.Errorf(fault.BadValue, "a validator must be {$jsonSchema: {…}}, or {} for none")
			}
		}
	}
	if c.Level, err = textField(cmd, "validationLevel"); err != nil {
		return c, err
	}
	if c.Action, err = textField(cmd, "validationAction"); err != nil {
		return c, err
	}
	if v := value.Get(cmd, "formats"); v.Exists() {
		b, err := truth(cmd, "formats")
		if err != nil {
			return c, err
		}
		c.Formats = &b
	}
	if v := value.Get(cmd, "rules"); v.Exists() {
		r, err := judge.ParseRules(v)
		if err != nil {
			return c, err
		}
		texts := db.Rules(r.Text)
		c.Rules = &texts
	}
	return c, nil
}

// truth returns a field that must be a boolean; false if there is none.
func truth(cmd bson.Raw, field string) (bool, error) {
	v := value.Get(cmd, field)
	if v.Exists() && v.Type != bson.TypeBoolean {
		return false, fault.Errorf(fault.TypeMismatch, "%s must be a boolean", field)
	}
	return v.Bool(), nil
}

func count(doc []byte) (n int) {
	it := value.Elements(doc)
	for _, _, ok := it.Next(); ok; _, _, ok = it.Next() {
		n++
	}
	return n
}

// cmdCollMod changes a collection; migrate: true continues a migration or brings
// stragglers, an array begins one. The form with index is a command of its own, and
// migrate: true takes no other field. The list of misfits has at most 1,000, so that the
// reply stays small however many documents do not fit. A report is in the reply also when
// nothing was changed (dryRun), and in the error when documents did not fit.
func (rn *Runner) cmdCollMod(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if value.Get(cmd, "index").Exists() {
		return rn.cmdModifyIndex(ctx, name, cmd)
	}
	c, err := changeOf(cmd)
	if err != nil {
		return nil, err
	}
	if c.DryRun, err = truth(cmd, "dryRun"); err != nil {
		return nil, err
	}
	if c.Force, err = truth(cmd, "force"); err != nil {
		return nil, err
	}
	c.List = int(min(1000, max(0, number(cmd, "list"))))
	if m := value.Get(cmd, "migrate"); m.Bool() {
		if err := onlyFields(cmd, "migrate"); err != nil {
			return nil, err
		}
		r, err := rn.db.Collection(name).Migrate(ctx)
		return reportDoc(r), err
	} else if m.Exists() {
		if c.Migrate, err = list(cmd, "migrate"); err != nil {
			return nil, err
		}
	}
	r, err := rn.db.ModifyCollection(ctx, name, c)
	return reportDoc(r), err
}

// cmdValidate says which documents do not fit the schema in force. MongoDB's fields about
// its storage are there for its shells and always tell of health: what is stored is checked
// by other means, which stop to serve what is damaged. nIndexes counts the one on _id.
func (rn *Runner) cmdValidate(ctx context.Context, name string, cmd bson.Raw) (bson.D, error) {
	if err := rn.mustBeDefined(ctx, name); err != nil {
		return nil, err
	}
	r, err := rn.db.Collection(name).Verify(ctx, int(min(1000, max(0, number(cmd, "list")))))
	if err != nil {
		return nil, err
	}
	xs, err := rn.db.Collection(name).Indexes(ctx)
	if err != nil {
		return nil, err
	}
	errs := bson.A{}
	return append(bson.D{
		{Key: "ns", Value: rn.namespace(name)},
		{Key: "nInvalidDocuments", Value: int64(0)},
		{Key: "nNonCompliantDocuments", Value: r.Misfits},
		{Key: "nrecords", Value: r.Documents},
		{Key: "nIndexes", Value: int32(len(xs) + 1)},
		{Key: "valid", Value: true},
		{Key: "errors", Value: errs},
	}, reportDoc(r)...), nil
}

// reportDoc is how a report is told, by collMod and validate and with a refusal of them.
func reportDoc(r db.Report) bson.D {
	first := bson.A{}
	for _, m := range r.First {
		first = append(first, bson.D{{Key: "_id", Value: m.ID}, {Key: "reason", Value: m.Reason}})
	}
	return bson.D{
		{Key: "version", Value: r.Version},
		{Key: "documents", Value: r.Documents},
		{Key: "changed", Value: r.Changed},
		{Key: "misfits", Value: r.Misfits},
		{Key: "first", Value: first},
	}
}

// optionsDoc gives a collection's options as listCollections does. What is as by default is
// left out, as MongoDB does, so that the options of a new collection are {}.
func optionsDoc(c *db.CollectionInfo) bson.D {
	o := bson.D{}
	if c.Schema != nil {
		o = append(o, bson.E{Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: c.Schema}}},
			bson.E{Key: "validationLevel", Value: c.Level}, bson.E{Key: "validationAction", Value: c.Action})
	}
	if c.Formats {
		o = append(o, bson.E{Key: "formats", Value: true})
	}
	if c.Rules != (db.Rules{}) {
		o = append(o, bson.E{Key: "rules", Value: judge.RulesDoc(judge.RuleTexts(c.Rules))})
	}
	return o
}
