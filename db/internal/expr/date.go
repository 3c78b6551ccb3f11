package expr

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// zoned is namedForm for operators with a time zone.
func zoned(need int, f func(e *Env, op string, args []value.Value) (value.Value, error), names ...string) form {
	return func(c *compiler, name string, arg value.Value) (node, error) {
		if arg.IsDoc() {
			c.noteZone(value.Get(arg.Data, "timezone"))
		}
		return namedForm(need, f, names...)(c, name, arg)
	}
}

// datePart makes an operator that takes a date, or {date, timezone}. {$year: "$d"}, {$year: ["$d"]} and
// {$year: {date: "$d", timezone: "+02:00"}} are one operator. A date may be a timestamp or an ObjectId,
// here and in all operators on dates.
func datePart(part func(t time.Time) int64, long bool) form {
	f := func(e *Env, op string, args []value.Value) (value.Value, error) {
		t, ok, err := e.time(op, args[0], args[1])
		if !ok {
			return nullValue, err
		}
		if long {
			return e.int64(part(t)), nil
		}
		return e.int32(int32(part(t))), nil
	}
	return func(c *compiler, name string, arg value.Value) (node, error) {
		if arg.IsArray() {
			if n := length(arg); n != 1 {
				return nil, fault.Errorf(fault.FailedToParse, "%s accepts exactly one argument if given an array, but was given %d", name, n)
			}
			arg = value.At(arg.Data, 0)
		}
		it := value.Elements(arg.Data)
		if arg.IsDoc() {
			if k, _, ok := it.Next(); !ok || len(k) > 0 && k[0] != '$' {
				return zoned(1, f, "date", "timezone")(c, name, arg)
			}
		}
		x, err := c.value(arg)
		return &call{op: name, f: f, args: []node{x, constant{}}}, err
	}
}

// dateParts returns the operator that reads a part of a date; nil if there is none of that name. Months
// and days of the year count from 1. Of weekdays Sunday is 1, but in ISO weeks Monday; the first ISO
// week is the one with the first Thursday of its year.
//
//	{$dayOfWeek: 2021-01-03}                            1
//	{$isoDayOfWeek: 2021-01-03}                         7
//	{$isoWeek: 2021-01-03}                              53
//	{$isoWeekYear: 2021-01-03}                          2020
//	{$hour: {date: 2021-01-03, timezone: "+05:30"}}     5
func dateParts(name string) form {
	switch name {
	case "$year":
		return datePart(func(t time.Time) int64 { return int64(t.Year()) }, false)
	case "$month":
		return datePart(func(t time.Time) int64 { return int64(t.Month()) }, false)
	case "$dayOfMonth":
		return datePart(func(t time.Time) int64 { return int64(t.Day()) }, false)
	case "$dayOfWeek":
		return datePart(func(t time.Time) int64 { return int64(t.Weekday()) + 1 }, false)
	case "$dayOfYear":
		return datePart(func(t time.Time) int64 { return int64(t.YearDay()) }, false)
	case "$hour":
		return datePart(func(t time.Time) int64 { return int64(t.Hour()) }, false)
	case "$minute":
		return datePart(func(t time.Time) int64 { return int64(t.Minute()) }, false)
	case "$second":
		return datePart(func(t time.Time) int64 { return int64(t.Second()) }, false)
	case "$millisecond":
		return datePart(func(t time.Time) int64 { return int64(t.Nanosecond() / 1e6) }, false)
	case "$week":
		return datePart(sundayWeek, false)
	case "$isoWeek":
		return datePart(func(t time.Time) int64 { _, w := t.ISOWeek(); return int64(w) }, false)
	case "$isoWeekYear":
		return datePart(func(t time.Time) int64 { y, _ := t.ISOWeek(); return int64(y) }, true)
	case "$isoDayOfWeek":
		return datePart(func(t time.Time) int64 { return isoDay(t) }, false)
	}
	return nil
}

// sundayWeek counts weeks from the year's first Sunday; 0 before it.
//
//	{$week: 2021-01-02}     0
//	{$week: 2021-01-03}     1
func sundayWeek(t time.Time) int64 { return int64(t.YearDay()+6-int(t.Weekday())) / 7 }

// isoDay is 1 for Monday to 7 for Sunday.
func isoDay(t time.Time) int64 { return int64(t.Weekday()+6)%7 + 1 }

// dateToParts is $dateToParts: {date, timezone, iso8601}.
//
//	{$dateToParts: {date: 2021-01-03, iso8601: true}}     {isoWeekYear: 2020, isoWeek: 53, isoDayOfWeek: 7, hour: 0, …}
func dateToParts(e *Env, op string, args []value.Value) (value.Value, error) {
	t, ok, err := e.time(op, args[0], args[1])
	if !ok {
		return nullValue, err
	}
	iso := args[2]
	if iso.Exists() && nullish(iso) {
		return nullValue, nil
	}
	if iso.Exists() && iso.Type != bson.TypeBoolean {
		return nullValue, fault.Errorf(fault.TypeMismatch, "%s: iso8601 must evaluate to a bool, found %s", op, typeName(iso))
	}
	out := e.document(op)
	put := func(k string, n int) { out.set([]byte(k), e.count(n)) }
	if iso.Bool() {
		y, w := t.ISOWeek()
		put("isoWeekYear", y)
		put("isoWeek", w)
		put("isoDayOfWeek", int(isoDay(t)))
	} else {
		put("year", t.Year())
		put("month", int(t.Month()))
		put("day", t.Day())
	}
	put("hour", t.Hour())
	put("minute", t.Minute())
	put("second", t.Second())
	put("millisecond", t.Nanosecond()/1e6)
	return out.value()
}

// dateFromParts adds up year, month, day or ISO year, week, day, and the time; what is out of range
// carries over. Month 13 is January of the next year, and hour -1 the last hour of the day before.
//
//	{$dateFromParts: {year: 2023, month: 14, day: 0}}     2024-01-31
//	{$dateFromParts: {isoWeekYear: 2021, isoWeek: 1}}     2021-01-04
//	{$dateFromParts: {year: 2023, isoWeek: 1}}            an error
func dateFromParts(e *Env, op string, args []value.Value) (value.Value, error) {
	names := []string{"year", "month", "day", "hour", "minute", "second", "millisecond", "isoWeekYear", "isoWeek", "isoDayOfWeek"}
	nums := []int{0, 1, 1, 0, 0, 0, 0, 0, 1, 1}
	for i := range nums {
		v := args[i]
		if !v.Exists() {
			continue
		}
		if nullish(v) {
			return nullValue, nil
		}
		n, ok := number.Int32(v)
		if !ok {
			return nullValue, fault.Errorf(fault.TypeMismatch, "'%s' must evaluate to an integer, found %s", names[i], typeName(v))
		}
		if nums[i] = n; n < -32768 || n > 32767 {
			if i == 5 || i == 6 { // seconds and milliseconds may carry further
				continue
			}
			return nullValue, fault.Errorf(fault.BadValue, "'%s' must evaluate to a value in the range [-32768, 32767]", names[i])
		}
	}
	z, ok, err := e.zone(op, args[10])
	if !ok {
		return nullValue, err
	}
	iso := args[7].Exists()
	year := nums[0]
	if iso {
		year = nums[7]
		if args[0].Exists() || args[1].Exists() || args[2].Exists() {
			return nullValue, fault.Errorf(fault.FailedToParse, "%s does not allow mixing natural dates with ISO dates", op)
		}
	} else if args[8].Exists() || args[9].Exists() {
		return nullValue, fault.Errorf(fault.FailedToParse, "%s does not allow mixing natural dates with ISO dates", op)
	} else if !args[0].Exists() {
		return nullValue, fault.Errorf(fault.FailedToParse, "%s requires either 'year' or 'isoWeekYear' to be present", op)
	}
	if year < 1 || year > 9999 {
		return nullValue, fault.Errorf(fault.BadValue, "'year' must evaluate to an integer in the range 1 to 9999")
	}
	month, day := nums[1], nums[2]
	if iso {
		first := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC) // in week 1
		month, day = 1, 4-int(isoDay(first))+(nums[8]-1)*7+nums[9]
	}
	t := time.Date(year, time.Month(month), day, nums[3], nums[4], 0, 0, z)
	return e.date(t.UnixMilli() + int64(nums[5])*1000 + int64(nums[6])), nil
}
