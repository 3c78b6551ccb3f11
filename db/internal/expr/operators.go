package expr

import (
	"math"

	"github.com/cockroachdb/apd/v3"
)

// functions are the operators whose arguments are all evaluated.
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
	"$ln":       logarithm(28766, func(c *apd.Context) func(d, x *apd.Decimal) (apd.Condition, error) { return c.Ln }),
	"$log10":    logarithm(28761, func(c *apd.Context) func(d, x *apd.Decimal) (apd.Condition, error) { return c.Log10 }),
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
}

// formOf returns an operator that does not evaluate all its arguments, or takes
// them by name; nil if there is none of that name.
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
	}
	return nil
}
