package expr

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

const isoFormat = "%Y-%m-%dT%H:%M:%S.%L"

// A dateText is $dateToString or $dateFromString, which have values for null
// and for failure.
//
//	{$dateToString: {date: 1970-01-01}}                                   "1970-01-01T00:00:00.000Z"
//	{$dateToString: {date: 1970-01-01, timezone: "+02"}}                  "1970-01-01T02:00:00.000"
//	{$dateToString: {date: null, onNull: "none"}}                         "none"
//	{$dateFromString: {dateString: "2024-05-17", timezone: "+02:00"}}     2024-05-16T22:00:00.000Z
//	{$dateFromString: {dateString: "soon", onError: "no date"}}           "no date"
type dateText struct {
	op          string
	date        node
	format      node // nil: none
	zone        node // nil: none
	fail, empty node // nil: none
	parse       bool
}

func compileDateText(c *compiler, name string, arg value.Value) (node, error) {
	n := &dateText{op: name, parse: name == "$dateFromString"}
	names := []string{"date", "format", "timezone", "onNull"}
	if n.parse {
		names = []string{"dateString", "format", "timezone", "onNull", "onError"}
	}
	args, err := c.arguments(name, arg, 1, names...)
	if err != nil {
		return nil, err
	}
	n.date, n.format, n.zone, n.empty = args[0], args[1], args[2], args[3]
	if n.parse {
		n.fail = args[4]
	}
	c.noteZone(value.Get(arg.Data, "timezone"))
	return n, nil
}

// A format or zone that is null gives null before the date is looked at; onNull is for the date only.
func (n *dateText) eval(e *Env) (value.Value, error) {
	if err := e.tick(); err != nil {
		return value.Value{}, err
	}
	var vals [3]value.Value
	for i, x := range []node{n.date, n.format, n.zone} {
		if x == nil {
			continue
		}
		v, err := x.eval(e)
		if err != nil {
			return v, err
		}
		if i > 0 && nullish(v) {
			return nullValue, nil
		}
		vals[i] = v
	}
	v, format, zone := vals[0], vals[1], vals[2]
	if format.Exists() && format.Type != bson.TypeString {
		return v, fault.Errorf(fault.TypeMismatch, "%s requires that 'format' be a string, found: %s", n.op, typeName(format))
	}
	z, _, err := e.zone(n.op, zone)
	if err != nil {
		return v, err
	}
	if nullish(v) {
		if n.empty != nil {
			return n.empty.eval(e)
		}
		return nullValue, nil
	}
	if n.parse {
		return n.read(e, v, format, zone, z)
	}
	ms, ok := dateOf(v)
	if !ok {
		return v, fault.Errorf(fault.TypeMismatch, "%s: can't convert from BSON type %s to Date", n.op, typeName(v))
	}
	f := isoFormat
	switch {
	case format.Exists():
		f = string(format.Str())
	case z == time.UTC:
		f += "Z"
	}
	s, err := formatDate(n.op, f, time.UnixMilli(ms).In(z))
	if err != nil {
		return v, err
	}
	return e.text(n.op, []byte(s))
}

func (n *dateText) read(e *Env, v, format, zone value.Value, z *time.Location) (value.Value, error) {
	if v.Type != bson.TypeString {
		if n.fail != nil {
			return n.fail.eval(e)
		}
		return v, fault.Errorf(fault.ConversionFailure, "%s requires that 'dateString' be a string, found: %s", n.op, typeName(v))
	}
	if !zone.Exists() {
		z = nil
	}
	var ms int64
	var why string
	if format.Exists() {
		ms, why = scanDate(string(v.Str()), string(format.Str()), z)
	} else {
		ms, why = parseDate(string(v.Str()), z)
	}
	if why == "" {
		return e.date(ms), nil
	}
	if n.fail != nil {
		return n.fail.eval(e)
	}
	return v, fault.Errorf(fault.ConversionFailure, "Error parsing date string '%.100s': %s", v.Str(), why)
}

// formatDate prints a date as a format of % specifiers says.
func formatDate(op, f string, t time.Time) (string, error) {
	if y := t.Year(); y < 0 || y > 9999 {
		return "", fault.Errorf(fault.Overflow, "%s: Could not convert date to string: date component was outside the supported range of 0-9999: %d", op, y)
	}
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			b.WriteByte(f[i])
			continue
		}
		if i++; i == len(f) {
			return "", fault.Errorf(fault.FailedToParse, "%s: Unmatched '%%' at end of format string", op)
		}
		s, ok := datePiece(f[i], t)
		if !ok {
			return "", fault.Errorf(fault.FailedToParse, "%s: Invalid format character '%%%c' in format string", op, f[i])
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// datePiece prints one specifier; ok is false for a character that is none.
//
//	{$dateToString: {date: 2021-01-03, format: "%G-W%V-%u %j %b"}}              "2020-W53-7 003 Jan"
//	{$dateToString: {date: 1970-01-01, timezone: "-0330", format: "%z %Z"}}     "-0330 -210"
func datePiece(c byte, t time.Time) (string, bool) {
	_, off := t.Zone()
	isoYear, isoWeek := t.ISOWeek()
	switch c {
	case 'Y':
		return fmt.Sprintf("%04d", t.Year()), true
	case 'm':
		return fmt.Sprintf("%02d", t.Month()), true
	case 'd':
		return fmt.Sprintf("%02d", t.Day()), true
	case 'H':
		return fmt.Sprintf("%02d", t.Hour()), true
	case 'M':
		return fmt.Sprintf("%02d", t.Minute()), true
	case 'S':
		return fmt.Sprintf("%02d", t.Second()), true
	case 'L':
		return fmt.Sprintf("%03d", t.Nanosecond()/1e6), true
	case 'j':
		return fmt.Sprintf("%03d", t.YearDay()), true
	case 'w':
		return strconv.Itoa(int(t.Weekday()) + 1), true
	case 'u':
		return strconv.Itoa(int(isoDay(t))), true
	case 'U':
		return fmt.Sprintf("%02d", sundayWeek(t)), true
	case 'V':
		return fmt.Sprintf("%02d", isoWeek), true
	case 'G':
		return fmt.Sprintf("%04d", isoYear), true
	case 'b':
		return t.Month().String()[:3], true
	case 'B':
		return t.Month().String(), true
	case 'z':
		sign := '+'
		if off < 0 {
			sign, off = '-', -off
		}
		return fmt.Sprintf("%c%02d%02d", sign, off/3600, off/60%60), true
	case 'Z':
		return fmt.Sprintf("%+d", off/60), true
	case '%':
		return "%", true
	}
	return "", false
}

// parseDate reads an ISO 8601 date: date alone, or with a time down to minutes,
// seconds or fractions, and perhaps a zone. A zone in the text excludes z; why
// is empty if it is one.
func parseDate(s string, z *time.Location) (ms int64, why string) {
	if len(s) > 64 {
		return 0, "too long"
	}
	body, zone := s, (*time.Location)(nil)
	if len(s) > 10 {
		if i := strings.LastIndexAny(s, "Z+-"); i > 10 {
			if zone = offsetZone(s[i:]); s[i:] == "Z" {
				zone = time.UTC
			}
			if zone == nil {
				return 0, "invalid time zone"
			}
			body = strings.TrimRight(s[:i], " ")
		} else if b, ok := strings.CutSuffix(s, " UTC"); ok {
			body, zone = b, time.UTC
		}
	}
	if zone != nil && z != nil {
		return 0, "you cannot pass in a date/time string with time zone information together with a timezone argument"
	}
	if z == nil {
		z = time.UTC
	}
	if zone != nil {
		z = zone
	}
	for _, layout := range []string{
		"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01", "20060102T150405", "20060102",
	} {
		if t, err := time.ParseInLocation(layout, body, z); err == nil {
			return t.UnixMilli(), ""
		}
	}
	return 0, "not a date that is understood"
}
