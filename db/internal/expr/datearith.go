package expr

import (
	"math"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
	"github.com/weftdb/weft/db/internal/value"
	"github.com/weftdb/weft/internal/fault"
)

// units are the milliseconds of the units that always have as many.
var units = map[string]int64{
	"week": 7 * 86400e3, "day": 86400e3, "hour": 3600e3, "minute": 60e3, "second": 1e3, "millisecond": 1,
}

// months are the months of the other units.
var months = map[string]int{"year": 12, "quarter": 3, "month": 1}

// unitOf reads the name of a unit.
func unitOf(op string, v value.Value) (string, error) {
	if v.Type != bson.TypeString {
		return "", fault.Errorf(fault.TypeMismatch, "%s requires 'unit' to be a string, but got %s", op, typeName(v))
	}
	u := string(v.Str())
	if units[u] == 0 && months[u] == 0 {
		return "", fault.Errorf(fault.FailedToParse, "%s parameter 'unit' value cannot be recognized as a time unit: %s", op, u)
	}
	return u, nil
}

// dateAdd makes $dateAdd and $dateSubtract: {startDate, unit, amount, timezone}.
func dateAdd(sign int64) form {
	return zoned(3, func(e *Env, op string, args []value.Value) (value.Value, error) {
		if nullish(args[1]) || nullish(args[2]) {
			return nullValue, nil
		}
		t, ok, err := e.time(op, args[0], args[3])
		if !ok {
			return nullValue, err
		}
		unit, err := unitOf(op, args[1])
		if err != nil {
			return nullValue, err
		}
		n, ok := number.Whole(args[2])
		if !ok {
			return nullValue, fault.Errorf(fault.TypeMismatch, "%s expects integer amount of time units", op)
		}
		if n == math.MinInt64 {
			return nullValue, fault.Errorf(fault.Overflow, "%s: invalid 'amount': too large", op)
		}
		ms, ok := shift(t, unit, sign*n)
		if !ok {
			return nullValue, fault.Errorf(fault.Overflow, "%s overflowed", op)
		}
		return e.date(ms), nil
	}, "startDate", "unit", "amount", "timezone")
}

// shift adds n units. Units of a day and more move the wall clock; a day that a month lacks becomes its
// last. One month after 31 January is 28 or 29 February; one day is 23 to 25 hours where clocks change,
// but 24 hours are 24 hours.
//
//	{$dateAdd: {startDate: 2024-01-31, unit: "month", amount: 1}}            2024-02-29
//	{$dateSubtract: {startDate: 2024-03-31, unit: "quarter", amount: 1}}     2023-12-31
func shift(t time.Time, unit string, n int64) (ms int64, ok bool) {
	const far = 1e10 // days, months: beyond every date
	if n > far*86400e3 || n < -far*86400e3 {
		return 0, false
	}
	start := t.UnixMilli()
	switch unit {
	case "hour", "minute", "second", "millisecond":
		d, ok := number.Product(n, units[unit])
		sum := start + d
		return sum, ok && (sum > start) == (d > 0)
	case "day", "week":
		days := n
		if unit == "week" {
			days *= 7
		}
		if days > far || days < -far {
			return 0, false
		}
		ms = wall(t, t.Year(), int(t.Month()), t.Day()+int(days)).UnixMilli()
		return ms, (ms > start) == (n > 0) || n == 0
	}
	total := n * int64(months[unit])
	if total > far || total < -far {
		return 0, false
	}
	first := time.Date(t.Year(), t.Month()+time.Month(total), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	if y := first.Year(); y > 290_000_000 || y < -290_000_000 {
		return 0, false
	}
	return wall(t, first.Year(), int(first.Month()), min(t.Day(), last)).UnixMilli(), true
}

// Shift is the time n units from t, as $dateAdd has it; ok is false beyond all dates.
func Shift(t time.Time, unit string, n int64) (ms int64, ok bool) { return shift(t, unit, n) }

// wall is the time of day of t on another day.
func wall(t time.Time, year, month, day int) time.Time {
	return time.Date(year, time.Month(month), day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
}

var weekdays = map[string]int{
	"mon": 0, "monday": 0, "tue": 1, "tuesday": 1, "wed": 2, "wednesday": 2, "thu": 3, "thursday": 3,
	"fri": 4, "friday": 4, "sat": 5, "saturday": 5, "sun": 6, "sunday": 6,
}

// startOfWeek is 0 for Monday to 6 for Sunday, the default.
func startOfWeek(op, unit string, v value.Value) (int, error) {
	if unit != "week" || !v.Exists() {
		return 6, nil
	}
	d, ok := weekdays[strings.ToLower(string(v.Str()))]
	if !ok {
		return 0, fault.Errorf(fault.FailedToParse, "%s parameter 'startOfWeek' value cannot be recognized as a day of a week", op)
	}
	return d, nil
}

// dateDiff counts the boundaries of a unit between two dates: {startDate, endDate, unit, timezone,
// startOfWeek}. Boundaries count, not durations: from 23:59 to 00:01 is one day.
//
//	{$dateDiff: {startDate: 2023-12-31T23:59:00, endDate: 2024-01-01, unit: "year"}}                   1
//	{$dateDiff: {startDate: 2024-01-02, endDate: 2024-01-01, unit: "day"}}                             -1
//	{$dateDiff: {startDate: 2024-01-06, endDate: 2024-01-07, unit: "week"}}                            1
//	{$dateDiff: {startDate: 2024-01-06, endDate: 2024-01-07, unit: "week", startOfWeek: "monday"}}     0
func dateDiff(e *Env, op string, args []value.Value) (value.Value, error) {
	if nullish(args[2]) || args[4].Exists() && nullish(args[4]) {
		return nullValue, nil
	}
	a, ok, err := e.time(op, args[0], args[3])
	if !ok {
		return nullValue, err
	}
	b, ok, err := e.time(op, args[1], args[3])
	if !ok {
		return nullValue, err
	}
	unit, err := unitOf(op, args[2])
	if err != nil {
		return nullValue, err
	}
	week, err := startOfWeek(op, unit, args[4])
	if err != nil {
		return nullValue, err
	}
	if m := months[unit]; m > 0 {
		return e.int64(floor(monthOf(b), int64(m)) - floor(monthOf(a), int64(m))), nil
	}
	switch unit {
	case "week":
		return e.int64(floor(dayOf(b)+3-int64(week), 7) - floor(dayOf(a)+3-int64(week), 7)), nil
	case "day":
		return e.int64(dayOf(b) - dayOf(a)), nil
	}
	_, off := a.Zone()
	ms := units[unit]
	return e.int64(floor(b.UnixMilli()+int64(off)*1000, ms) - floor(a.UnixMilli()+int64(off)*1000, ms)), nil
}

// monthOf counts months from the year 0, dayOf days of the wall clock from 1970,
// which began on a Thursday.
func monthOf(t time.Time) int64 { return int64(t.Year())*12 + int64(t.Month()) - 1 }

func dayOf(t time.Time) int64 {
	_, off := t.Zone()
	return floor(t.UnixMilli()+int64(off)*1000, 86400e3)
}

// floor divides toward minus infinity, as dates before 1970 need it.
func floor(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// dateTrunc takes a date back to the start of its bin: {date, unit, binSize, timezone,
// startOfWeek}. Bins count from the start of 2000.
//
//	{$dateTrunc: {date: 2024-05-17T13:47:00, unit: "hour", binSize: 6}}     2024-05-17T12:00:00.000Z
//	{$dateTrunc: {date: 2024-05-17, unit: "quarter"}}                       2024-04-01
//	{$dateTrunc: {date: 2024-05-17, unit: "week", startOfWeek: "mon"}}      2024-05-13
func dateTrunc(e *Env, op string, args []value.Value) (value.Value, error) {
	if nullish(args[1]) || args[2].Exists() && nullish(args[2]) || args[4].Exists() && nullish(args[4]) {
		return nullValue, nil
	}
	t, ok, err := e.time(op, args[0], args[3])
	if !ok {
		return nullValue, err
	}
	unit, err := unitOf(op, args[1])
	if err != nil {
		return nullValue, err
	}
	bin := int64(1)
	if args[2].Exists() {
		if bin, ok = number.Whole(args[2]); !ok || bin <= 0 || bin > 1e11 {
			return nullValue, fault.Errorf(fault.BadValue, "%s requires 'binSize' to be greater than 0 and at most 100,000,000,000", op)
		}
	}
	week, err := startOfWeek(op, unit, args[4])
	if err != nil {
		return nullValue, err
	}
	z := t.Location()
	if m := months[unit]; m > 0 {
		n := floor(monthOf(t)-2000*12, bin*int64(m))*bin*int64(m) + 2000*12
		if n < -farMonths {
			return nullValue, errTrunc(op)
		}
		return e.date(time.Date(int(floor(n, 12)), time.Month(n-12*floor(n, 12)+1), 1, 0, 0, 0, 0, z).UnixMilli()), nil
	}
	switch unit {
	case "day", "week":
		ref := int64(10957) // days from 1970 to 2000-01-01, a Saturday
		size := bin
		if unit == "week" {
			ref += int64(week+2) % 7
			size *= 7
		}
		n := floor(dayOf(t)-ref, size)*size + ref
		if n < -farDays {
			return nullValue, errTrunc(op)
		}
		return e.date(time.Date(1970, 1, 1+int(n), 0, 0, 0, 0, z).UnixMilli()), nil
	}
	size, ok := number.Product(bin, units[unit])
	if !ok {
		return nullValue, errTrunc(op)
	}
	ref := time.Date(2000, 1, 1, 0, 0, 0, 0, z).UnixMilli()
	ms := t.UnixMilli()
	since := ms - ref
	n, ok := number.Product(floor(since, size), size)
	if !ok || since > ms != (ref < 0) || n+ref > ms {
		return nullValue, errTrunc(op)
	}
	return e.date(n + ref), nil
}

// farDays and farMonths are beyond every date.
const (
	farDays   = 1e11
	farMonths = 290_000_000 * 12
)

func errTrunc(op string) error {
	return fault.Errorf(fault.BadValue, "%s: 'binSize' is too large for the date", op)
}
