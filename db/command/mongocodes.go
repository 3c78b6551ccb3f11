package command

import "github.com/weftdb/weft/internal/fault"

// A mongoCode is what MongoDB calls an error: what a driver looks at.
type mongoCode struct {
	code int32
	name string
}

// mongoCodes is the one table from kinds of error to MongoDB's codes and names,
// with a row for every kind but those that blame the request and have no word of their
// own there: BadValue. A kind that MongoDB has no word for has that of the nearest;
// kinds that no command meets have InternalError.
var mongoCodes = map[fault.Kind]mongoCode{
	fault.Internal:         {1, "InternalError"},
	fault.InvalidArgument:  {2, "BadValue"},
	fault.InvalidName:      {73, "InvalidNamespace"},
	fault.InvalidPath:      {2, "BadValue"},
	fault.NotFound:         {26, "NamespaceNotFound"},
	fault.AlreadyExists:    {48, "NamespaceExists"},
	fault.Ambiguous:        {2, "BadValue"},
	fault.Conflict:         {112, "WriteConflict"},
	fault.OutOfRange:       {2, "BadValue"},
	fault.TooLarge:         {10334, "BSONObjectTooLarge"},
	fault.Malformed:        {2, "BadValue"},
	fault.UnknownVersion:   {115, "CommandNotSupported"},
	fault.Corrupt:          {246, "DataCorruptionDetected"},
	fault.DiskFull:         {14031, "OutOfDiskSpace"},
	fault.PermissionDenied: {13, "Unauthorized"},
	fault.Closed:           {91, "ShutdownInProgress"},
	fault.Timeout:          {262, "ExceededTimeLimit"},
	fault.Canceled:         {11601, "Interrupted"},
	fault.Unreachable:      {6, "HostUnreachable"},

	fault.HomeInUse:        {1, "InternalError"},
	fault.NewerHome:        {1, "InternalError"},
	fault.AddressInUse:     {1, "InternalError"},
	fault.BadBackup:        {1, "InternalError"},
	fault.CutShort:         {1, "InternalError"},
	fault.ClockAhead:       {1, "InternalError"},
	fault.NotCut:           {1, "InternalError"},
	fault.FileMode:         {1, "InternalError"},
	fault.WrongKeyKind:     {1, "InternalError"},
	fault.PassphraseNeeded: {1, "InternalError"},
	fault.PassphraseWrong:  {1, "InternalError"},
	fault.Unavailable:      {1, "InternalError"},
	fault.Usage:            {1, "InternalError"},

	fault.NoCredential:          {13, "Unauthorized"},
	fault.KeyUnknown:            {13, "Unauthorized"},
	fault.KeyRevoked:            {13, "Unauthorized"},
	fault.KeyExpired:            {13, "Unauthorized"},
	fault.CredentialExpired:     {13, "Unauthorized"},
	fault.CredentialNotYetValid: {13, "Unauthorized"},
	fault.CertificateExpired:    {13, "Unauthorized"},
	fault.BadSignature:          {13, "Unauthorized"},
	fault.WrongAudience:         {13, "Unauthorized"},
	fault.WrongScope:            {13, "Unauthorized"},
	fault.WrongOwner:            {13, "Unauthorized"},
	fault.WrongPeer:             {13, "Unauthorized"},
	fault.WrongUser:             {13, "Unauthorized"},
	fault.QuotaExceeded:         {13, "Unauthorized"},
	fault.NoDelegation:          {13, "Unauthorized"},
	fault.BadRequest:            {9, "FailedToParse"},

	fault.UnknownExtension: {1, "InternalError"},
	fault.UnknownOperation: {1, "InternalError"},
	fault.BrokenChain:      {1, "InternalError"},
	fault.BadClock:         {1, "InternalError"},
	fault.WrongBody:        {1, "InternalError"},
	fault.Gap:              {1, "InternalError"},
	fault.NotMember:        {13, "Unauthorized"},
	fault.Void:             {13, "Unauthorized"},
	fault.WrongKey:         {1, "InternalError"},
	fault.Altered:          {1, "InternalError"},
	fault.Bomb:             {1, "InternalError"},
	fault.LimitReached:     {1, "InternalError"},
	fault.WaitingFull:      {1, "InternalError"},
	fault.BadInvite:        {1, "InternalError"},
	fault.NoKeys:           {13, "Unauthorized"},
	fault.BlobUnavailable:  {6, "HostUnreachable"},
	fault.UnknownThread:    {1, "InternalError"},
	fault.NotRelay:         {1, "InternalError"},
	fault.StateHash:        {1, "InternalError"},
	fault.UnknownRecipient: {1, "InternalError"},
	fault.Sealed:           {1, "InternalError"},
	fault.Expired:          {1, "InternalError"},

	fault.DuplicateKey: {11000, "DuplicateKey"},
	fault.Schema:       {121, "DocumentValidationFailure"},
	fault.Rule:         {13, "Unauthorized"},
	fault.Role:         {13, "Unauthorized"},
	fault.TooCostly:    {146, "ExceededMemoryLimit"},

	fault.BadValue:               {2, "BadValue"},
	fault.FailedToParse:          {9, "FailedToParse"},
	fault.TypeMismatch:           {14, "TypeMismatch"},
	fault.Overflow:               {15, "Overflow"},
	fault.InvalidBSON:            {22, "InvalidBSON"},
	fault.NamespaceNotFound:      {26, "NamespaceNotFound"},
	fault.IndexNotFound:          {27, "IndexNotFound"},
	fault.PathNotViable:          {28, "PathNotViable"},
	fault.ConflictingUpdate:      {40, "ConflictingUpdateOperators"},
	fault.CursorNotFound:         {43, "CursorNotFound"},
	fault.MaxTimeExpired:         {50, "MaxTimeMSExpired"},
	fault.DollarPrefixed:         {52, "DollarPrefixedFieldName"},
	fault.InvalidIDField:         {53, "InvalidIdField"},
	fault.NotSingleValue:         {54, "NotSingleValueField"},
	fault.EmptyFieldName:         {56, "EmptyFieldName"},
	fault.CommandNotFound:        {59, "CommandNotFound"},
	fault.ImmutableField:         {66, "ImmutableField"},
	fault.CannotCreateIndex:      {67, "CannotCreateIndex"},
	fault.InvalidOptions:         {72, "InvalidOptions"},
	fault.InvalidNamespace:       {73, "InvalidNamespace"},
	fault.IndexOptionsConflict:   {85, "IndexOptionsConflict"},
	fault.IndexKeySpecsConflict:  {86, "IndexKeySpecsConflict"},
	fault.CommandNotSupported:    {115, "CommandNotSupported"},
	fault.ExceededMemoryLimit:    {146, "ExceededMemoryLimit"},
	fault.InvalidPipeline:        {168, "InvalidPipelineOperator"},
	fault.InvalidIndexOption:     {197, "InvalidIndexSpecificationOption"},
	fault.QueryFeatureNotAllowed: {224, "QueryFeatureNotAllowed"},
	fault.TransactionTooOld:      {225, "TransactionTooOld"},
	fault.MaxSubPipelineDepth:    {232, "MaxSubPipelineDepthExceeded"},
	fault.ConversionFailure:      {241, "ConversionFailure"},
	fault.NoSuchTransaction:      {251, "NoSuchTransaction"},
	fault.InvalidResumeToken:     {260, "InvalidResumeToken"},
	fault.NotInTransaction:       {263, "OperationNotSupportedInTransaction"},
	fault.HistoryLost:            {286, "ChangeStreamHistoryLost"},
	fault.QueryMemoryExceeded:    {292, "QueryExceededMemoryLimitNoDiskUseAllowed"},
	fault.KeyTooLong:             {17280, "KeyTooLong"},
	fault.InvalidRegex:           {51091, "Location51091"},
}

// mongoCodeOf returns the row of a kind.
func mongoCodeOf(k fault.Kind) mongoCode {
	if c, ok := mongoCodes[k]; ok {
		return c
	}
	return mongoCodes[fault.BadValue]
}

// codeOf maps an error to MongoDB's code and name.
func codeOf(err error) (int32, string) {
	c := mongoCodeOf(fault.KindOf(err))
	return c.code, c.name
}

// kindsOfCodes maps a code to the kind that a reply with it tells, for a node that is the
// client of another's commands. Where several kinds have a code it is that of the language,
// which comes last in their list; 1 and 13, which many share and none of the language has,
// tell Internal and Rule.
var kindsOfCodes = func() map[int32]fault.Kind {
	m := map[int32]fault.Kind{}
	for _, k := range fault.Kinds() {
		m[mongoCodeOf(k).code] = k
	}
	for _, k := range []fault.Kind{fault.Internal, fault.Rule} {
		m[mongoCodeOf(k).code] = k
	}
	return m
}()

// ReplyError returns the error that a reply of [Runner.Run], or one of its writeErrors,
// tells by its code and errmsg. The sentence is kept, so that an error reads the same on
// both sides. A code that no row has blames the request.
func ReplyError(code int32, message string) error {
	kind, ok := kindsOfCodes[code]
	if !ok {
		kind = fault.InvalidArgument
	}
	return fault.Errorf(kind, "%s", message)
}
