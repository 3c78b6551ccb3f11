package expr

import (
	"math"
	"unicode/utf8"

	"github.com/cockroachdb/apd/v3"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/db/internal/number"
)

// functions are the operators whose arguments are all evaluated. What they share: the arguments are
// checked for their number when they are compiled, for their types when they are there. An argument
// that is null, undefined or missing makes the result null. The exceptions are MongoDB's: comparisons,
// $not, $type and the like take such a value for what it is; $toUpper, $toLower, $strcasecmp and
// $substr for ""; $mergeObjects and the accumulators pass over it; and it is a wrong type to $size,
// $in, $range, $strLenBytes, $setEquals, $setIsSubset and $anyElementTrue. A wrong type is an error
// (TypeMismatch) that names the operator and the type; a value out of range is mostly BadValue.
//
// A function does not write to args, which are valid until it returns, and may return one of them. It
// costs one tick and the bytes of its arguments; what takes longer counts by itself (charge, spend),
// and what it builds goes through room.
var functions = map[string]function{
	"$add":      {0, -1, add},
	"$subtract": {2, 2, subtract},
	"$multiply": {0, -1, multiply},
	"$divide":   {2, 2, divide},
	"$mod":      {2, 2, mod},
	"$abs":      numeric(abs),
	"$floor":    rounding(apd.RoundFloor, math.Floor),
	"$ceil":     rounding(apd.RoundCeiling, math.Ceil),
	"$round":    places(apd.RoundHalfEven, math.RoundToEven),
	"$trunc":    places(apd.RoundDown, math.Trunc),
	"$sqrt":     numeric(sqrt),
	"$exp":      numeric(exp),
	"$ln":       logarithm(number.Ln),
	"$log10":    logarithm(number.Log10),
	"$log":      {2, 2, log},
	"$pow":      {2, 2, pow},
	"$bitAnd":   bitwise(-1, func(x, y int64) int64 { return x & y }),
	"$bitOr":    bitwise(0, func(x, y int64) int64 { return x | y }),
	"$bitXor":   bitwise(0, func(x, y int64) int64 { return x ^ y }),
	"$bitNot":   {1, 1, bitNot},

	"$cmp": {2, 2, cmpOp},
	"$eq":  equality(true),
	"$ne":  equality(false),
	"$gt":  comparison(func(c int) bool { return c > 0 }),
	"$gte": comparison(func(c int) bool { return c >= 0 }),
	"$lt":  comparison(func(c int) bool { return c < 0 }),
	"$lte": comparison(func(c int) bool { return c <= 0 }),
	"$not": {1, 1, not},

	"$size":         {1, 1, size},
	"$isArray":      {1, 1, isArray},
	"$arrayElemAt":  {2, 2, arrayElemAt},
	"$first":        end(false),
	"$last":         end(true),
	"$concatArrays": {0, -1, concatArrays},
	"$slice":        {2, 3, slice},
	"$in":           {2, 2, in},
	"$indexOfArray": {2, 4, indexOfArray},
	"$reverseArray": {1, 1, reverseArray},
	"$range":        {2, 3, rangeOf},

	"$setUnion":        {0, -1, setUnion},
	"$setIntersection": {0, -1, setIntersection},
	"$setDifference":   {2, 2, setDifference},
	"$setEquals":       {2, -1, setEquals},
	"$setIsSubset":     {2, 2, setIsSubset},
	"$anyElementTrue":  elementsTrue(true),
	"$allElementsTrue": elementsTrue(false),

	"$mergeObjects":  {0, -1, mergeObjects},
	"$objectToArray": {1, 1, objectToArray},
	"$arrayToObject": {1, 1, arrayToObject},
	"$bsonSize":      {1, 1, bsonSize},

	"$concat":       {0, -1, concat},
	"$toUpper":      cased('a', 'A'),
	"$toLower":      cased('A', 'a'),
	"$strcasecmp":   {2, 2, strcasecmp},
	"$substr":       {3, 3, substrBytes},
	"$substrBytes":  {3, 3, substrBytes},
	"$substrCP":     {3, 3, substrCP},
	"$strLenBytes":  lengthOf(func(s []byte) int { return len(s) }),
	"$strLenCP":     lengthOf(utf8.RuneCount),
	"$split":        {2, 2, split},
	"$indexOfBytes": indexOfText(false),
	"$indexOfCP":    indexOfText(true),
	"$binarySize":   {1, 1, binarySize},

	"$type":       {1, 1, typeOf},
	"$isNumber":   {1, 1, isNumber},
	"$toInt":      toType(bson.TypeInt32),
	"$toLong":     toType(bson.TypeInt64),
	"$toDouble":   toType(bson.TypeDouble),
	"$toDecimal":  toType(bson.TypeDecimal128),
	"$toString":   toType(bson.TypeString),
	"$toBool":     toType(bson.TypeBoolean),
	"$toDate":     toType(bson.TypeDateTime),
	"$toObjectId": toType(bson.TypeObjectID),

	"$sum":        {0, -1, accumulated},
	"$avg":        {0, -1, accumulated},
	"$min":        {0, -1, accumulated},
	"$max":        {0, -1, accumulated},
	"$stdDevPop":  {0, -1, accumulated},
	"$stdDevSamp": {0, -1, accumulated},
}

// formOf returns an operator that does not evaluate all its arguments, or takes them by name; nil if
// there is none of that name. The fields of a form are expressions, but for those that decide what is
// compiled, as the names of variables, the field of $setField and the sortBy of $sortArray.
func formOf(name string) form {
	switch name {
	case "$literal":
		return compileLiteral
	case "$and":
		return logical(false)
	case "$or":
		return logical(true)
	case "$cond":
		return compileCond
	case "$switch":
		return compileSwitch
	case "$ifNull":
		return compileIfNull
	case "$let":
		return compileLet
	case "$map", "$filter":
		return compileEach
	case "$reduce":
		return compileReduce
	case "$zip":
		return compileZip
	case "$sortArray":
		return compileSortArray
	case "$firstN", "$lastN", "$minN", "$maxN":
		return namedForm(2, someN, "n", "input")
	case "$getField":
		return compileGetField
	case "$setField", "$unsetField":
		return compileSetField
	case "$convert":
		return compileConvert
	case "$rand":
		return compileRand
	}
	if f := textForm(name); f != nil {
		return f
	}
	return dateForm(name)
}

func textForm(name string) form {
	switch name {
	case "$trim":
		return trimmed(true, true)
	case "$ltrim":
		return trimmed(true, false)
	case "$rtrim":
		return trimmed(false, true)
	case "$replaceOne":
		return replaced(1)
	case "$replaceAll":
		return replaced(-1)
	case "$regexMatch":
		return regexForm(regexMatch)
	case "$regexFind":
		return regexForm(regexFind)
	case "$regexFindAll":
		return regexForm(regexFindAll)
	}
	return nil
}

func dateForm(name string) form {
	switch name {
	case "$dateToString", "$dateFromString":
		return compileDateText
	case "$dateToParts":
		return zoned(1, dateToParts, "date", "timezone", "iso8601")
	case "$dateFromParts":
		return zoned(0, dateFromParts, "year", "month", "day", "hour", "minute", "second", "millisecond", "isoWeekYear", "isoWeek", "isoDayOfWeek", "timezone")
	case "$dateAdd":
		return dateAdd(1)
	case "$dateSubtract":
		return dateAdd(-1)
	case "$dateDiff":
		return zoned(3, dateDiff, "startDate", "endDate", "unit", "timezone", "startOfWeek")
	case "$dateTrunc":
		return zoned(2, dateTrunc, "date", "unit", "binSize", "timezone", "startOfWeek")
	}
	return dateParts(name)
}
