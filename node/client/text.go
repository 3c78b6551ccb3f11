package client

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db"
	"github.com/weftdb/weft/db/command"
	"github.com/weftdb/weft/db/threaddb"
	"github.com/weftdb/weft/internal/fault"
	"github.com/weftdb/weft/node"
	weftv1 "github.com/weftdb/weft/node/api/weft/v1"
)

// Document parses a document that a person wrote: Extended JSON, or the notation of
// MongoDB's shell.
func Document(text []byte) (bson.Raw, error) {
	v, err := Value(text)
	if err != nil {
		return nil, err
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return nil, fault.Of(node.ErrInvalid, "want an object, as {name: 'x'}")
	}
	return v.Value, nil
}

// Documents parses a document that a person wrote, or an array of documents.
func Documents(text []byte) ([][]byte, error) {
	v, err := Value(text)
	if err != nil || v.Type != bson.TypeArray {
		d, err := Document(text)
		return [][]byte{d}, err
	}
	values, err := v.Array().Values()
	if err != nil {
		return nil, fault.Of(node.ErrInvalid, "%v", err)
	}
	out := make([][]byte, len(values))
	for i, x := range values {
		d, ok := x.DocumentOK()
		if !ok {
			return nil, fault.Of(node.ErrInvalid, "element %d of the array is not an object, as {name: 'x'}", i+1)
		}
		out[i] = d
	}
	return out, nil
}

// Update parses an update that a person wrote: a document of operators, or a pipeline,
// which is an array of stages.
func Update(text []byte) (bson.Raw, error) {
	v, err := Value(text)
	if err != nil || v.Type != bson.TypeArray {
		return Document(text)
	}
	values, err := v.Array().Values()
	if err != nil {
		return nil, fault.Of(node.ErrInvalid, "%v", err)
	}
	stages := make([]bson.Raw, len(values))
	for i, s := range values {
		stage, ok := s.DocumentOK()
		if !ok {
			return nil, fault.Of(node.ErrInvalid, "stage %d of the pipeline is not an object", i+1)
		}
		stages[i] = stage
	}
	return db.PipelineUpdate(stages...), nil
}

// Value parses one value that a person wrote, as [Document] does.
func Value(text []byte) (bson.RawValue, error) {
	v, err := db.ParseTyped(text)
	if err != nil {
		return v, fault.Of(node.ErrInvalid, "%v", err)
	}
	return v, nil
}

// ValueText returns a value as relaxed Extended JSON.
func ValueText(v bson.RawValue) []byte { return db.AppendJSONValue(nil, v, false) }

// ThreadQuery translates a query of ThreadDB.
func ThreadQuery(text []byte) (threaddb.Query, error) { return threaddb.Parse(text) }

// ReplyError returns the error that a reply to a command document tells, nil if
// it tells none. It has the kind that it had at the node; a node of an older
// release says MongoDB's code only.
func ReplyError(r *weftv1.RunResponse) error {
	reply := bson.Raw(r.GetReply())
	if ok, is := reply.Lookup("ok").AsFloat64OK(); is && ok == 1 {
		return nil
	}
	code, _ := reply.Lookup("code").AsInt64OK()
	message, _ := reply.Lookup("errmsg").StringValueOK()
	err := command.ReplyError(int32(code), message)
	return fault.Errorf(fault.Known(r.GetCode(), fault.KindOf(err)), "%s", message)
}

// IDFilter returns the filter for the document whose _id a person wrote: as a
// string, or as a value of Extended JSON, whichever it is.
func IDFilter(text string) (bson.Raw, error) {
	ids := bson.A{text}
	if v, err := db.ParseTyped([]byte(text)); err == nil {
		ids = append(ids, v)
	}
	b, err := bson.Marshal(bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	if err != nil {
		return nil, fault.Of(node.ErrInvalid, "invalid _id %.60q: %v", text, err)
	}
	return b, nil
}

// Text appends a document as relaxed Extended JSON on one line.
func Text(dst []byte, doc bson.Raw) []byte { return db.AppendJSON(dst, doc, false) }

// IDText returns the _id of a document as relaxed Extended JSON; "null" if it
// has none.
func IDText(doc bson.Raw) []byte {
	v, err := doc.LookupErr("_id")
	if err != nil {
		return []byte("null")
	}
	return db.AppendJSONValue(nil, v, false)
}

// Space reports whether a line of text holds nothing.
func Space(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
