package expr

import (
	"strconv"
	"strings"
	"time"
)

// A dateScan reads a date as a format says.
type dateScan struct {
	s    string
	num  map[byte]int
	zone *time.Location
}

// scanDate reads s by a format of % specifiers; why is empty if it does.
//
//	{$dateFromString: {dateString: "17.5.2024", format: "%d.%m.%Y"}}                        2024-05-17
//	{$dateFromString: {dateString: "2024 60", format: "%Y %j"}}                             2024-02-29
//	{$dateFromString: {dateString: "17 May 2024 +0200", format: "%d %b %Y %z"}}             2024-05-16T22:00:00.000Z
//	{$dateFromString: {dateString: "31.4.2024", format: "%d.%m.%Y", onError: "no day"}}     "no day"
func scanDate(s, format string, z *time.Location) (ms int64, why string) {
	d := dateScan{s: s, num: map[byte]int{}}
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' {
			if d.s == "" || d.s[0] != c {
				return 0, "the text does not follow the format"
			}
			d.s = d.s[1:]
			continue
		}
		if i++; i == len(format) {
			return 0, "unmatched '%' at the end of the format"
		}
		if why := d.piece(format[i]); why != "" {
			return 0, why
		}
	}
	if d.s != "" {
		return 0, "text after the date"
	}
	if d.zone != nil && z != nil {
		return 0, "you cannot pass in a date/time string with time zone information together with a timezone argument"
	}
	switch {
	case d.zone != nil:
		z = d.zone
	case z == nil:
		z = time.UTC
	}
	return d.date(z)
}

// scanWidth is how many digits a number has at most; %Y and %G need all four.
var scanWidth = map[byte]int{'Y': 4, 'G': 4, 'm': 2, 'd': 2, 'H': 2, 'M': 2, 'S': 2, 'L': 3, 'j': 3, 'V': 2, 'U': 2, 'u': 1, 'w': 1}

func (d *dateScan) piece(c byte) (why string) {
	switch c {
	case '%':
		if !strings.HasPrefix(d.s, "%") {
			return "the text does not follow the format"
		}
		d.s = d.s[1:]
		return ""
	case 'b', 'B':
		for m := time.January; m <= time.December; m++ {
			name := m.String()
			if c == 'b' {
				name = name[:3]
			}
			if len(d.s) >= len(name) && strings.EqualFold(d.s[:len(name)], name) {
				d.num['m'], d.s = int(m), d.s[len(name):]
				return ""
			}
		}
		return "not a month"
	case 'z', 'Z':
		return d.offset(c)
	}
	width, ok := scanWidth[c]
	if !ok {
		return "invalid format character '%" + string(rune(c)) + "'"
	}
	n := 0
	for n < width && n < len(d.s) && d.s[n] >= '0' && d.s[n] <= '9' {
		n++
	}
	if n == 0 || (c == 'Y' || c == 'G') && n < 4 {
		return "want a number for %" + string(rune(c))
	}
	d.num[c], _ = strconv.Atoi(d.s[:n])
	if c == 'L' {
		for range 3 - n {
			d.num[c] *= 10
		}
	}
	d.s = d.s[n:]
	return ""
}

func (d *dateScan) offset(c byte) (why string) {
	if c == 'Z' { // minutes
		n := 1
		for n < len(d.s) && n < 5 && d.s[n] >= '0' && d.s[n] <= '9' {
			n++
		}
		min, err := strconv.Atoi(d.s[:min(n, len(d.s))])
		if err != nil || d.s[0] != '+' && d.s[0] != '-' {
			return "want an offset in minutes"
		}
		d.zone, d.s = time.FixedZone("", min*60), d.s[n:]
		return ""
	}
	if strings.HasPrefix(d.s, "Z") {
		d.zone, d.s = time.UTC, d.s[1:]
		return ""
	}
	for _, n := range []int{6, 5, 3} {
		if len(d.s) >= n {
			if z := offsetZone(d.s[:n]); z != nil {
				d.zone, d.s = z, d.s[n:]
				return ""
			}
		}
	}
	return "want a time zone's offset"
}

// A date is a year and month and day, a year and day of it (%j), or an ISO year, week and day (%G %V
// %u).
func (d *dateScan) date(z *time.Location) (ms int64, why string) {
	get := func(c byte, def, least, most int) int {
		n, ok := d.num[c]
		if !ok {
			n = def
		}
		if n < least || n > most {
			why = "%" + string(rune(c)) + " is out of range"
		}
		return n
	}
	hour, minute, sec, milli := get('H', 0, 0, 23), get('M', 0, 0, 59), get('S', 0, 0, 59), get('L', 0, 0, 999)
	clock := func(year, month, day int) int64 {
		return time.Date(year, time.Month(month), day, hour, minute, sec, milli*1e6, z).UnixMilli()
	}
	if year, ok := d.num['G']; ok {
		week, day := get('V', 1, 1, 53), get('u', 1, 1, 7)
		first := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC)
		return clock(year, 1, 4-int(isoDay(first))+(week-1)*7+day), why
	}
	year, ok := d.num['Y']
	if !ok {
		return 0, "an incomplete date: the year is missing"
	}
	if _, ok := d.num['j']; ok {
		return clock(year, 1, get('j', 1, 1, 366)), why
	}
	month, day := get('m', 1, 1, 12), get('d', 1, 1, 31)
	if why == "" && time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Day() != day {
		return 0, "the month has no such day"
	}
	return clock(year, month, day), why
}
