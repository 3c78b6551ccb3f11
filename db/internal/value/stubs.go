package value

// Validate checks that doc is one canonical document: exact lengths, known
// types, unique UTF-8 keys without NUL, arrays keyed "0", "1", … in order,
// booleans 0 or 1, the one canonical NaN, at most MaxDepth deep and
// MaxDocument bytes long. It returns an *Error (InvalidBSON) naming the place.
func Validate(doc []byte) error { return nil }

// Compare orders two values as MongoDB's BSON order does and returns -1, 0 or 1.
func Compare(a, b Value) int { return 0 }

// Equal reports whether Compare(a, b) is 0.
func Equal(a, b Value) bool { return Compare(a, b) == 0 }

// AppendKey appends the order-preserving, self-delimiting key of v to dst: the
// keys of two values compare by bytes as the values do. desc inverts the order.
func AppendKey(dst []byte, v Value, desc bool) []byte { return dst }

// KeyLen returns the number of bytes of the first key in the concatenated
// keys, which was encoded with desc; -1 if key is malformed.
func KeyLen(key []byte, desc bool) int { return -1 }

// A Path is a parsed dotted path.
type Path struct{ parts []part }

type part struct{ name string }

// ParsePath parses a dotted path; empty components are an error.
func ParsePath(s string) (Path, error) { return Path{}, nil }

// IndexValues appends to dst the values that an index on p holds for doc:
// arrays are expanded, a missing field gives null, an empty array undefined.
// multi reports whether an array was expanded.
func (p Path) IndexValues(dst []Value, doc []byte) (vals []Value, multi bool) { return dst, false }

// Lookup returns the value at p, through documents and array indexes but not
// expanding arrays; the zero Value if there is none.
func (p Path) Lookup(doc []byte) Value { return Value{} }

// ParseJSON parses one Extended JSON v2 object, relaxed or canonical, into a
// validated document. Errors give the position in bytes.
func ParseJSON(text []byte) ([]byte, error) { return nil, nil }

// ParseJSONValue parses any Extended JSON v2 value.
func ParseJSONValue(text []byte) (Value, error) { return Value{}, nil }

// AppendJSON appends doc as Extended JSON v2, canonical or relaxed, on one line.
func AppendJSON(dst, doc []byte, canonical bool) []byte { return dst }

// AppendJSONValue appends v as Extended JSON v2.
func AppendJSONValue(dst []byte, v Value, canonical bool) []byte { return dst }
