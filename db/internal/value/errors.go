package value

import "fmt"

// MongoDB's error codes that this engine raises.
const (
	CodeBadValue              = 2
	CodeFailedToParse         = 9
	CodeTypeMismatch          = 14
	CodeInvalidBSON           = 22
	CodeIndexNotFound         = 27
	CodePathNotViable         = 28
	CodeConflictingUpdate     = 40
	CodeDollarPrefixed        = 52
	CodeInvalidIDField        = 53
	CodeEmptyFieldName        = 56
	CodeImmutableField        = 66
	CodeCannotCreateIndex     = 67
	CodeInvalidOptions        = 72
	CodeIndexOptionsConflict  = 85
	CodeIndexKeySpecsConflict = 86
	CodeCommandNotSupported   = 115
	CodeInvalidIndexOption    = 197
	CodeQueryFeatureNotAllow  = 224
	CodeInvalidRegex          = 51091
	CodeProjectionExclude     = 31253
	CodeProjectionInclude     = 31254
	CodeObjectTooLarge        = 10334
	CodeDuplicateKey          = 11000
	CodeKeyTooLong            = 17280
	CodeUpdateTooLarge        = 17419
	CodeBadSortSpec           = 15975
	CodePathCollision         = 31249
	CodePathCollisionRemain   = 31250
	CodeUnsupportedProjection = 31325
)

var codeNames = map[int32]string{
	CodeBadValue: "BadValue", CodeFailedToParse: "FailedToParse", CodeTypeMismatch: "TypeMismatch",
	CodeInvalidBSON: "InvalidBSON", CodePathNotViable: "PathNotViable",
	CodeConflictingUpdate: "ConflictingUpdateOperators", CodeDollarPrefixed: "DollarPrefixedFieldName",
	CodeInvalidIDField: "InvalidIdField", CodeEmptyFieldName: "EmptyFieldName",
	CodeImmutableField: "ImmutableField", CodeInvalidOptions: "InvalidOptions",
	CodeCommandNotSupported: "CommandNotSupported", CodeQueryFeatureNotAllow: "QueryFeatureNotAllowed",
	CodeObjectTooLarge: "BSONObjectTooLarge", CodeIndexNotFound: "IndexNotFound", CodeCannotCreateIndex: "CannotCreateIndex",
	CodeIndexOptionsConflict: "IndexOptionsConflict", CodeIndexKeySpecsConflict: "IndexKeySpecsConflict",
	CodeInvalidIndexOption: "InvalidIndexSpecificationOption", CodeDuplicateKey: "DuplicateKey", CodeKeyTooLong: "KeyTooLong",
	13: "Unauthorized", 15: "Overflow", 43: "CursorNotFound", 50: "MaxTimeMSExpired", 146: "ExceededMemoryLimit", 168: "InvalidPipelineOperator", 241: "ConversionFailure",
	292: "QueryExceededMemoryLimitNoDiskUseAllowed",
}

// An Error is a refusal with MongoDB's error code and code name. It is the one
// error type of the value, query and update packages.
type Error struct {
	Code    int32  // MongoDB's code, as 2
	Name    string // MongoDB's code name, as "BadValue"; "Location<code>" when it has none
	Message string
}

// Error returns the message and the code's name.
func (e *Error) Error() string { return e.Message + " (" + e.Name + ")" }

// Errorf builds an Error with the given code; its name follows from the code.
func Errorf(code int32, format string, args ...any) *Error {
	name, ok := codeNames[code]
	if !ok {
		name = fmt.Sprintf("Location%d", code)
	}
	return &Error{Code: code, Name: name, Message: fmt.Sprintf(format, args...)}
}
