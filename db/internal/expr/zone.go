package expr

import (
	"encoding/binary"
	"strings"
	"time"
	_ "time/tzdata" // zones where the system has none

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// zone returns the time zone that v names: UTC if it is missing; ok is false if
// it is null.
func (e *Env) zone(op string, v value.Value) (z *time.Location, ok bool, err error) {
	switch {
	case !v.Exists():
		return time.UTC, true, nil
	case nullish(v):
		return nil, false, nil
	case v.Type != bson.TypeString:
		return nil, false, fault.Errorf(fault.TypeMismatch, "%s: timezone must evaluate to a string, found %s", op, typeName(v))
	}
	name := string(v.Str())
	if z := e.zones[name]; z != nil {
		return z, true, nil
	}
	if z = parseZone(name); z == nil {
		return nil, false, fault.Errorf(fault.BadValue, "%s: unrecognized time zone identifier: %q", op, name)
	}
	if e.zones == nil || len(e.zones) >= maxCached {
		e.zones = map[string]*time.Location{}
	}
	e.zones[name] = z
	return z, true, nil
}

// fixedZone reports whether a name means the same on every machine.
func fixedZone(name string) bool {
	return name == "UTC" || name == "GMT" || offsetZone(name) != nil
}

func parseZone(name string) *time.Location {
	if name == "UTC" || name == "GMT" {
		return time.UTC
	}
	if z := offsetZone(name); z != nil {
		return z
	}
	// "Local" and the empty name would mean this machine's zone.
	if name == "" || name == "Local" || len(name) > 64 || strings.ContainsAny(name, "\\\x00") || strings.Contains(name, "..") {
		return nil
	}
	z, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return z
}

// offsetZone parses +hh, +hhmm and +hh:mm.
func offsetZone(s string) *time.Location {
	if len(s) < 3 || s[0] != '+' && s[0] != '-' {
		return nil
	}
	d := strings.Replace(s[1:], ":", "", 1)
	if len(d) != 2 && len(d) != 4 || len(s) == 6 && s[3] != ':' || len(s) == 4 {
		return nil
	}
	for _, c := range d {
		if c < '0' || c > '9' {
			return nil
		}
	}
	n := func(s string) int { return int(s[0]-'0')*10 + int(s[1]-'0') }
	sec := n(d) * 3600
	if len(d) == 4 {
		sec += n(d[2:]) * 60
	}
	if s[0] == '-' {
		sec = -sec
	}
	return time.FixedZone(s, sec)
}

// noteZone marks an expression that depends on the rules of the zone v. A zone that is not constant may
// be any. The rules of named zones come with the system, and differ.
func (c *compiler) noteZone(v value.Value) {
	if !nullish(v) && (v.Type != bson.TypeString || !fixedZone(string(v.Str()))) {
		c.e.varies = true
	}
}

// dateOf is the time of a date, timestamp or ObjectId, in milliseconds.
func dateOf(v value.Value) (ms int64, ok bool) {
	switch v.Type {
	case bson.TypeDateTime:
		return v.Int(), true
	case bson.TypeTimestamp:
		return int64(uint64(v.Int())>>32) * 1000, true
	case bson.TypeObjectID:
		return int64(binary.BigEndian.Uint32(v.Data)) * 1000, true
	}
	return 0, false
}

// time reads a date argument in a zone; ok is false if it is null.
func (e *Env) time(op string, v, zone value.Value) (t time.Time, ok bool, err error) {
	z, ok, err := e.zone(op, zone)
	if err != nil {
		return t, false, err
	}
	if nullish(v) || !ok {
		return t, false, nil
	}
	ms, ok := dateOf(v)
	if !ok {
		return t, false, fault.Errorf(fault.TypeMismatch, "%s: can't convert from BSON type %s to Date", op, typeName(v))
	}
	return time.UnixMilli(ms).In(z), true, nil
}
