package fault

import "slices"

// A Kind says what an error means to whoever gets it, as a stable word that
// programs may rely on.
type Kind string

// What can happen everywhere.
const (
	Internal         Kind = "internal"          // nobody outside can act on it: a defect or a failing machine
	InvalidArgument  Kind = "invalid_argument"  // an argument or a configuration that cannot be
	InvalidName      Kind = "invalid_name"      // a name that breaks the rules of names
	InvalidPath      Kind = "invalid_path"      // a path that breaks the rules of paths
	NotFound         Kind = "not_found"         // there is no such thing here
	AlreadyExists    Kind = "already_exists"    // the name is taken
	Ambiguous        Kind = "ambiguous"         // several things have the name
	Conflict         Kind = "conflict"          // something changed meanwhile: try again
	OutOfRange       Kind = "out_of_range"      // beyond the end
	TooLarge         Kind = "too_large"         // over a limit
	Malformed        Kind = "malformed"         // not in the form of its format
	UnknownVersion   Kind = "unknown_version"   // a version or suite of another release
	Corrupt          Kind = "corrupt"           // what is stored is damaged
	DiskFull         Kind = "disk_full"         // there is no room: free some space
	PermissionDenied Kind = "permission_denied" // the caller may not
	Closed           Kind = "closed"            // used after its end
	Timeout          Kind = "timeout"           // time ran out
	Canceled         Kind = "canceled"          // the caller gave up
	Unreachable      Kind = "unreachable"       // no peer answers that could do it
)

// What a home and a node can meet.
const (
	HomeInUse        Kind = "home_in_use"       // another process has it open
	NewerHome        Kind = "newer_home"        // a newer release wrote it
	AddressInUse     Kind = "address_in_use"    // another process listens there
	BadBackup        Kind = "bad_backup"        // the backup is incomplete or damaged
	CutShort         Kind = "cut_short"         // the input ends too early
	ClockAhead       Kind = "clock_ahead"       // the clock of this machine is behind what was written
	FileMode         Kind = "file_mode"         // others can read a secret file
	WrongKeyKind     Kind = "wrong_key_kind"    // the file holds another kind of key
	PassphraseNeeded Kind = "passphrase_needed" // the key file is sealed
	PassphraseWrong  Kind = "passphrase_wrong"  // or the key file was altered
	Unavailable      Kind = "unavailable"       // no daemon answers
	Usage            Kind = "usage"             // a command line that cannot be
)

// Why a policy refuses a request.
const (
	NoCredential          Kind = "no_credential"
	KeyUnknown            Kind = "key_unknown"
	KeyRevoked            Kind = "key_revoked"
	KeyExpired            Kind = "key_expired"
	CredentialExpired     Kind = "credential_expired"
	CredentialNotYetValid Kind = "credential_not_yet_valid"
	CertificateExpired    Kind = "certificate_expired"
	BadSignature          Kind = "bad_signature"
	WrongAudience         Kind = "wrong_audience"
	WrongScope            Kind = "wrong_scope"
	WrongOwner            Kind = "wrong_owner"
	WrongPeer             Kind = "wrong_peer"
	WrongUser             Kind = "wrong_user"
	QuotaExceeded         Kind = "quota_exceeded"
	NoDelegation          Kind = "no_delegation" // a hub does not write for the identity
	BadRequest            Kind = "bad_request"   // a frame that the protocol does not have
)

// What threads and their records can meet.
const (
	UnknownExtension Kind = "unknown_extension" // critical, and not of this release
	UnknownOperation Kind = "unknown_operation" // a control operation or role of another release
	BrokenChain      Kind = "broken_chain"      // order, previous hash or log
	BadClock         Kind = "bad_clock"         // does not increase
	WrongBody        Kind = "wrong_body"        // not the one that the header commits to
	Gap              Kind = "gap"               // records before it are not held
	NotMember        Kind = "not_member"        // no right in the thread
	Void             Kind = "void"              // its join was surplus, revoked or expired
	WrongKey         Kind = "wrong_key"         // sealed with another key than the epoch's
	Altered          Kind = "altered"           // does not open
	Bomb             Kind = "bomb"              // expands to more than it says
	LimitReached     Kind = "limit_reached"     // a limit of the network, which the text names
	WaitingFull      Kind = "waiting_full"      // too much waits for control records
	BadInvite        Kind = "bad_invite"        // unknown, expired, used up or revoked
	NoKeys           Kind = "no_keys"           // this node cannot read the thread
	BlobUnavailable  Kind = "blob_unavailable"  // no peer in reach has it
	UnknownThread    Kind = "unknown_thread"    // the peer does not hold it
	NotRelay         Kind = "not_a_relay"       // the peer keeps no threads for others
	StateHash        Kind = "state_hash"        // same records, different states: a defect
	NotCut           Kind = "not_cut"           // the history cannot be cut here and now
)

// What messages can meet.
const (
	UnknownRecipient Kind = "unknown_recipient"
	Sealed           Kind = "sealed"  // the recipient's key does not open it
	Expired          Kind = "expired" // out of its time
)

// Why the fold refuses an operation, besides [Malformed] and [TooLarge].
const (
	DuplicateKey Kind = "duplicate_key" // a document with the _id, or the key of a unique index, exists
	NoMatch      Kind = "no_match"      // no document matches the filter any more
	Schema       Kind = "schema"        // the document would not fit the schema
	Update       Kind = "update"        // the filter or update cannot be applied
	Reserved     Kind = "reserved"      // the document would set _mod
	Definition   Kind = "definition"    // a definition that cannot be in force
	Atomic       Kind = "atomic"        // another operation of the atomic transaction was refused
	Rule         Kind = "rule"          // the write rule of the collection denies it
	TooCostly    Kind = "too_costly"    // it takes more work than its record may cause
	Role         Kind = "role"          // the role of its author does not allow it
	Stale        Kind = "stale"         // a definition: that of somebody senior holds
	Unseen       Kind = "unseen"        // a definition: what it names has not arrived
)

// What MongoDB's language can meet; the words are MongoDB's own names.
const (
	BadValue               Kind = "bad_value"
	FailedToParse          Kind = "failed_to_parse"
	TypeMismatch           Kind = "type_mismatch"
	Overflow               Kind = "overflow"
	InvalidBSON            Kind = "invalid_bson"
	InvalidNamespace       Kind = "invalid_namespace"
	NamespaceNotFound      Kind = "namespace_not_found"
	IndexNotFound          Kind = "index_not_found"
	PathNotViable          Kind = "path_not_viable"
	ConflictingUpdate      Kind = "conflicting_update_operators"
	CursorNotFound         Kind = "cursor_not_found"
	MaxTimeExpired         Kind = "max_time_ms_expired"
	DollarPrefixed         Kind = "dollar_prefixed_field_name"
	InvalidIDField         Kind = "invalid_id_field"
	EmptyFieldName         Kind = "empty_field_name"
	CommandNotFound        Kind = "command_not_found"
	ImmutableField         Kind = "immutable_field"
	CannotCreateIndex      Kind = "cannot_create_index"
	InvalidOptions         Kind = "invalid_options"
	IndexOptionsConflict   Kind = "index_options_conflict"
	IndexKeySpecsConflict  Kind = "index_key_specs_conflict"
	CommandNotSupported    Kind = "command_not_supported"
	ExceededMemoryLimit    Kind = "exceeded_memory_limit"
	InvalidPipeline        Kind = "invalid_pipeline_operator"
	InvalidIndexOption     Kind = "invalid_index_specification_option"
	QueryFeatureNotAllowed Kind = "query_feature_not_allowed"
	TransactionTooOld      Kind = "transaction_too_old"
	ConversionFailure      Kind = "conversion_failure"
	NoSuchTransaction      Kind = "no_such_transaction"
	NotInTransaction       Kind = "operation_not_supported_in_transaction"
	QueryMemoryExceeded    Kind = "query_exceeded_memory_limit_no_disk_use_allowed"
	InvalidRegex           Kind = "invalid_regex"
	KeyTooLong             Kind = "key_too_long"
	NotSingleValue         Kind = "not_single_value_field"
	MaxSubPipelineDepth    Kind = "max_sub_pipeline_depth_exceeded"
	InvalidResumeToken     Kind = "invalid_resume_token"
	HistoryLost            Kind = "change_stream_history_lost"
)

var general = []Kind{
	Internal, InvalidArgument, InvalidName, InvalidPath, NotFound, AlreadyExists, Ambiguous, Conflict, OutOfRange,
	TooLarge, Malformed, UnknownVersion, Corrupt, DiskFull, PermissionDenied, Closed, Timeout, Canceled, Unreachable,
	HomeInUse, NewerHome, AddressInUse, BadBackup, CutShort, ClockAhead, FileMode, WrongKeyKind,
	PassphraseNeeded, PassphraseWrong, Unavailable, Usage,
	NoCredential, KeyUnknown, KeyRevoked, KeyExpired, CredentialExpired, CredentialNotYetValid, CertificateExpired,
	BadSignature, WrongAudience, WrongScope, WrongOwner, WrongPeer, WrongUser, QuotaExceeded, NoDelegation, BadRequest,
	UnknownExtension, UnknownOperation, BrokenChain, BadClock, WrongBody, Gap, NotMember, Void, WrongKey, Altered, Bomb,
	LimitReached, WaitingFull, BadInvite, NoKeys, BlobUnavailable, UnknownThread, NotRelay, StateHash, NotCut,
	UnknownRecipient, Sealed, Expired,
}

var refusals = []Kind{DuplicateKey, NoMatch, Schema, Update, Reserved, Definition, Atomic, Rule, TooCostly, Role, Stale, Unseen}

var language = []Kind{
	BadValue, FailedToParse, TypeMismatch, Overflow, InvalidBSON, InvalidNamespace, NamespaceNotFound, IndexNotFound,
	PathNotViable, ConflictingUpdate, CursorNotFound, MaxTimeExpired, DollarPrefixed, InvalidIDField, EmptyFieldName,
	CommandNotFound, ImmutableField, CannotCreateIndex, InvalidOptions, IndexOptionsConflict, IndexKeySpecsConflict,
	CommandNotSupported, ExceededMemoryLimit, InvalidPipeline, InvalidIndexOption, QueryFeatureNotAllowed,
	TransactionTooOld, ConversionFailure, NoSuchTransaction, NotInTransaction,
	QueryMemoryExceeded, InvalidRegex, KeyTooLong, NotSingleValue, MaxSubPipelineDepth, InvalidResumeToken, HistoryLost,
}

var kinds = slices.Concat(general, refusals, language)

// Kinds returns the closed list. Every table from kinds to the words of a way out
// has a row for each, or for those that [Kind.OfRequest] tells one together, which its
// test compares with this.
func Kinds() []Kind { return slices.Clone(kinds) }

// OfRequest reports whether k blames what was asked for: the fold's refusals, and
// what MongoDB's language can meet.
func (k Kind) OfRequest() bool { return slices.Contains(refusals, k) || slices.Contains(language, k) }

// Known returns the kind that word is, or def for a word that is none: one that
// a peer of another release sent, say.
func Known(word string, def Kind) Kind {
	if slices.Contains(kinds, Kind(word)) {
		return Kind(word)
	}
	return def
}
