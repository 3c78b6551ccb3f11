package expr_test

import (
	"testing"

	"github.com/weftdb/weft/db/internal/expr"
	"github.com/weftdb/weft/internal/fault"
)

const moment = `{"d": {"$date": "2017-11-20T23:12:34.567Z"}, "n": null}`

func TestDateParts(t *testing.T) {
	cases := []testCase{
		{expr: `{"$year": "$d"}`, want: `2017`},
		{expr: `{"$month": "$d"}`, want: `11`},
		{expr: `{"$dayOfMonth": "$d"}`, want: `20`},
		{expr: `{"$dayOfWeek": "$d"}`, want: `2`},
		{expr: `{"$dayOfYear": "$d"}`, want: `324`},
		{expr: `{"$hour": "$d"}`, want: `23`},
		{expr: `{"$minute": "$d"}`, want: `12`},
		{expr: `{"$second": "$d"}`, want: `34`},
		{expr: `{"$millisecond": "$d"}`, want: `567`},
		{expr: `{"$week": {"$date": "2016-01-01T00:00:00Z"}}`, want: `0`},
		{expr: `{"$week": "$d"}`, want: `47`},
		{expr: `{"$isoWeek": {"$date": "2016-01-04T00:00:00Z"}}`, want: `1`},
		{expr: `{"$isoWeekYear": {"$date": "2016-01-01T00:00:00Z"}}`, want: `{"$numberLong": "2015"}`},
		{expr: `{"$isoDayOfWeek": {"$date": "2016-01-01T00:00:00Z"}}`, want: `5`},
		{expr: `{"$hour": {"date": "$d", "timezone": "+02:30"}}`, want: `1`},
		{expr: `{"$dayOfMonth": {"date": "$d", "timezone": "America/Chicago"}}`, want: `20`},
		{expr: `{"$hour": {"date": "$d", "timezone": "America/Chicago"}}`, want: `17`},
		{expr: `{"$hour": {"date": "$d", "timezone": "$n"}}`, want: `null`},
		{expr: `{"$hour": {"date": "$d", "timezone": "Nowhere/Else"}}`, kind: fault.BadValue, says: "unrecognized time zone identifier"},
		{expr: `{"$hour": {"date": "$d", "timezone": "Local"}}`, kind: fault.BadValue, says: "unrecognized time zone identifier"},
		{expr: `{"$year": "$n"}`, want: `null`},
		{expr: `{"$year": "2017"}`, kind: fault.TypeMismatch, says: "can't convert from BSON type"},
		{expr: `{"$year": ["$d"]}`, want: `2017`},
		{expr: `{"$year": {"$oid": "5ab9c3da31c2ab715d421285"}}`, want: `2018`},
		{expr: `{"$year": {"dat": "$d"}}`, kind: fault.FailedToParse},
		{expr: `{"$dateToParts": {"date": "$d"}}`, want: `{"year": 2017, "month": 11, "day": 20, "hour": 23, "minute": 12, "second": 34, "millisecond": 567}`},
		{expr: `{"$dateToParts": {"date": "$d", "iso8601": true}}`, want: `{"isoWeekYear": 2017, "isoWeek": 47, "isoDayOfWeek": 1, "hour": 23, "minute": 12, "second": 34, "millisecond": 567}`},
		{expr: `{"$dateFromParts": {"year": 2017, "month": 2, "day": 8, "hour": 12}}`, want: `{"$date": "2017-02-08T12:00:00Z"}`},
		{expr: `{"$dateFromParts": {"isoWeekYear": 2017, "isoWeek": 6, "isoDayOfWeek": 3, "hour": 12}}`, want: `{"$date": "2017-02-08T12:00:00Z"}`},
		{expr: `{"$dateFromParts": {"year": 2017, "month": 14, "day": 1}}`, want: `{"$date": "2018-02-01T00:00:00Z"}`},
		{expr: `{"$dateFromParts": {"year": 2017, "month": 0, "day": 1}}`, want: `{"$date": "2016-12-01T00:00:00Z"}`},
		{expr: `{"$dateFromParts": {"year": 2016, "month": 12, "day": 31, "hour": 23, "minute": 46, "second": 12, "timezone": "America/New_York"}}`, want: `{"$date": "2017-01-01T04:46:12Z"}`},
		{expr: `{"$dateFromParts": {"year": 0}}`, kind: fault.BadValue, says: "year' must evaluate to an integer in the range 1 to 9999"},
		{expr: `{"$dateFromParts": {"month": 1}}`, kind: fault.FailedToParse, says: "requires either 'year' or 'isoWeekYear' to be present"},
		{expr: `{"$dateFromParts": {"year": "x"}}`, kind: fault.TypeMismatch, says: "must evaluate to an integer, found"},
	}
	for i := range cases {
		cases[i].doc = moment
	}
	check(t, cases)
}

func TestDateText(t *testing.T) {
	cases := []testCase{
		{expr: `{"$dateToString": {"date": "$d"}}`, want: `"2017-11-20T23:12:34.567Z"`},
		{expr: `{"$dateToString": {"date": "$d", "format": "%Y-%m-%d %H:%M:%S:%L %j %w %u %U %V %G %%"}}`, want: `"2017-11-20 23:12:34:567 324 2 1 47 47 2017 %"`},
		{expr: `{"$dateToString": {"date": "$d", "format": "%H:%M %z %Z", "timezone": "-05:00"}}`, want: `"18:12 -0500 -300"`},
		{expr: `{"$dateToString": {"date": "$d", "timezone": "+01"}}`, want: `"2017-11-21T00:12:34.567"`},
		{expr: `{"$dateToString": {"date": "$n", "onNull": "none"}}`, want: `"none"`},
		{expr: `{"$dateToString": {"date": "$n"}}`, want: `null`},
		{expr: `{"$dateToString": {"date": "$d", "format": "%"}}`, kind: fault.FailedToParse, says: "at end of format string"},
		{expr: `{"$dateToString": {"date": "$d", "format": "%q"}}`, kind: fault.FailedToParse, says: "Invalid format character"},
		{expr: `{"$dateToString": {"date": "$d", "format": 1}}`, kind: fault.TypeMismatch, says: "requires that 'format' be a string, found"},
		{expr: `{"$dateFromString": {"dateString": "2017-02-08T12:10:40.787"}}`, want: `{"$date": "2017-02-08T12:10:40.787Z"}`},
		{expr: `{"$dateFromString": {"dateString": "2017-02-08T12:10:40.787", "timezone": "America/New_York"}}`, want: `{"$date": "2017-02-08T17:10:40.787Z"}`},
		{expr: `{"$dateFromString": {"dateString": "2017-02-08"}}`, want: `{"$date": "2017-02-08T00:00:00Z"}`},
		{expr: `{"$dateFromString": {"dateString": "2017-02-08T12:10:40+02:00"}}`, want: `{"$date": "2017-02-08T10:10:40Z"}`},
		{expr: `{"$dateFromString": {"dateString": "2017-02-08T12:10:40Z", "timezone": "+01:00"}}`, kind: fault.ConversionFailure},
		{expr: `{"$dateFromString": {"dateString": "06-15-2018", "format": "%m-%d-%Y"}}`, want: `{"$date": "2018-06-15T00:00:00Z"}`},
		{expr: `{"$dateFromString": {"dateString": "15 Jun 2018 10:05 +0130", "format": "%d %b %Y %H:%M %z"}}`, want: `{"$date": "2018-06-15T08:35:00Z"}`},
		{expr: `{"$dateFromString": {"dateString": "2018-31-02", "format": "%Y-%d-%m"}}`, kind: fault.ConversionFailure},
		{expr: `{"$dateFromString": {"dateString": "2017-02-30"}}`, kind: fault.ConversionFailure},
		{expr: `{"$dateFromString": {"dateString": "nonsense", "onError": "x"}}`, want: `"x"`},
		{expr: `{"$dateFromString": {"dateString": "$n", "onNull": "y"}}`, want: `"y"`},
		{expr: `{"$dateFromString": {"dateString": 1}}`, kind: fault.ConversionFailure},
	}
	for i := range cases {
		cases[i].doc = moment
	}
	check(t, cases)
}

func TestDateArithmetic(t *testing.T) {
	date := func(s string) string { return `{"$date": "` + s + `Z"}` }
	diff := func(a, b, unit, more string) string {
		return `{"$dateDiff": {"startDate": ` + date(a) + `, "endDate": ` + date(b) + `, "unit": "` + unit + `"` + more + `}}`
	}
	trunc := func(d, unit, more string) string {
		return `{"$dateTrunc": {"date": ` + date(d) + `, "unit": "` + unit + `"` + more + `}}`
	}
	add := func(d, unit, amount, more string) string {
		return `{"$dateAdd": {"startDate": ` + date(d) + `, "unit": "` + unit + `", "amount": ` + amount + more + `}}`
	}
	check(t, []testCase{
		{expr: add("2020-10-31T12:10:05", "month", "1", ""), want: date("2020-11-30T12:10:05")},
		{expr: add("2020-12-31T12:10:05", "month", "2", ""), want: date("2021-02-28T12:10:05")},
		{expr: add("2020-02-29T00:00:00", "year", "-1", ""), want: date("2019-02-28T00:00:00")},
		{expr: add("2020-01-31T00:00:00", "quarter", "1", ""), want: date("2020-04-30T00:00:00")},
		{expr: add("2020-01-31T00:00:00", "week", "1", ""), want: date("2020-02-07T00:00:00")},
		{expr: add("2020-01-31T00:00:00", "hour", "-1", ""), want: date("2020-01-30T23:00:00")},
		{expr: add("2021-03-13T10:00:00", "day", "1", `, "timezone": "America/New_York"`), want: date("2021-03-14T09:00:00")},
		{expr: add("2021-03-13T10:00:00", "hour", "24", `, "timezone": "America/New_York"`), want: date("2021-03-14T10:00:00")},
		{expr: add("2020-01-31T00:00:00", "eon", "1", ""), kind: fault.FailedToParse},
		{expr: add("2020-01-31T00:00:00", "day", "1.5", ""), kind: fault.TypeMismatch, says: "expects integer amount of time units"},
		{expr: add("2020-01-31T00:00:00", "year", `{"$numberLong": "9223372036854775807"}`, ""), kind: fault.Overflow},
		{expr: add("2020-01-31T00:00:00", "second", `{"$numberLong": "9223372036854775807"}`, ""), kind: fault.Overflow},
		{expr: `{"$dateSubtract": {"startDate": ` + date("2021-03-31T00:00:00") + `, "unit": "month", "amount": 1}}`, want: date("2021-02-28T00:00:00")},
		{expr: `{"$dateAdd": {"startDate": null, "unit": "month", "amount": 1}}`, want: `null`},
		{expr: diff("2020-11-01T00:00:00", "2020-11-02T00:00:00", "day", ""), want: `{"$numberLong": "1"}`},
		{expr: diff("2020-12-31T23:59:59", "2021-01-01T00:00:00", "year", ""), want: `{"$numberLong": "1"}`},
		{expr: diff("2021-01-01T00:00:00", "2020-12-31T23:59:59", "month", ""), want: `{"$numberLong": "-1"}`},
		{expr: diff("2021-01-01T00:00:00", "2021-12-31T00:00:00", "quarter", ""), want: `{"$numberLong": "3"}`},
		{expr: diff("2021-01-01T00:00:00", "2021-01-31T00:00:00", "week", ""), want: `{"$numberLong": "5"}`},
		{expr: diff("2021-01-01T00:00:00", "2021-01-04T00:00:00", "week", `, "startOfWeek": "monday"`), want: `{"$numberLong": "1"}`},
		{expr: diff("2021-01-01T00:59:59", "2021-01-01T01:00:00", "hour", ""), want: `{"$numberLong": "1"}`},
		{expr: diff("2021-01-01T00:00:00", "2021-01-01T00:00:01", "millisecond", ""), want: `{"$numberLong": "1000"}`},
		{expr: trunc("2021-03-20T11:30:05", "month", ""), want: date("2021-03-01T00:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "quarter", ""), want: date("2021-01-01T00:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "hour", ""), want: date("2021-03-20T11:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "week", `, "startOfWeek": "monday"`), want: date("2021-03-15T00:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "week", ""), want: date("2021-03-14T00:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "week", `, "binSize": 2, "timezone": "America/Los_Angeles", "startOfWeek": "Monday"`), want: date("2021-03-15T07:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "day", `, "timezone": "Europe/Berlin"`), want: date("2021-03-19T23:00:00")},
		{expr: trunc("1999-12-31T11:30:05", "minute", `, "binSize": 15`), want: date("1999-12-31T11:30:00")},
		{expr: trunc("2021-03-20T11:30:05", "month", `, "binSize": 6`), want: date("2021-01-01T00:00:00")},
		{expr: trunc("2021-03-20T11:30:05", "day", `, "binSize": 0`), kind: fault.BadValue, says: "requires 'binSize' to be greater than 0 and at most 100,000,000,000"},
		{expr: trunc("1999-03-20T11:30:05", "week", `, "binSize": 100000000000`), kind: fault.BadValue, says: "'binSize' is too large for the date"},
		{expr: trunc("1999-03-20T11:30:05", "year", `, "binSize": 100000000000`), kind: fault.BadValue, says: "'binSize' is too large for the date"},
		{expr: trunc("2021-03-20T11:30:05", "year", `, "binSize": 100000000000`), want: date("2000-01-01T00:00:00")},
		{expr: `{"$dateTrunc": {"date": {"$date": {"$numberLong": "-9223372036854775808"}}, "unit": "second"}}`, kind: fault.BadValue, says: "'binSize' is too large for the date"},
		{expr: `{"$dateTrunc": {"date": {"$date": {"$numberLong": "-9223372036854775808"}}, "unit": "hour"}}`, kind: fault.BadValue, says: "'binSize' is too large for the date"},
	})
}

func TestDeterministic(t *testing.T) {
	for text, want := range map[string]bool{
		`{"$add": ["$a", 1]}`: true,
		`"$$NOW"`:             true,
		`{"$rand": {}}`:       false,
		`{"$cond": ["$a", {"$floor": {"$rand": {}}}, 1]}`:                                                         false,
		`{"$hour": {"date": "$d", "timezone": "+01:00"}}`:                                                         true,
		`{"$hour": {"date": "$d", "timezone": "Europe/Berlin"}}`:                                                  false,
		`{"$hour": {"date": "$d", "timezone": "$z"}}`:                                                             false,
		`{"$dateToString": {"date": "$d", "timezone": "Europe/Berlin"}}`:                                          false,
		`{"$dateTrunc": {"date": {"$date": "2020-01-01T00:00:00Z"}, "unit": "day", "timezone": "Europe/Berlin"}}`: false,
	} {
		x, err := expr.Compile(parse(t, text))
		if err != nil {
			t.Fatal(text, err)
		}
		if got := x.Deterministic(); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}
