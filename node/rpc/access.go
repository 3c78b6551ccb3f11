package rpc

import (
	"context"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/weftdb/weft/keys"
	"github.com/weftdb/weft/node"
	"github.com/weftdb/weft/node/api/weft/v1/weftv1connect"
)

// What a call needs at the remote listener, if it is not an action on what is in the caller's space.
const (
	anybody  keys.Action = "anybody"  // nothing
	anyToken keys.Action = "anyToken" // a session, whatever it may
	nobody   keys.Action = "nobody"   // it is not served there
)

// access is the one table of what remote callers reach. A call that is not in it is not served,
// and fails a test.
var access = map[string]keys.Action{
	weftv1connect.SessionServiceChallengeProcedure: anybody,
	weftv1connect.SessionServiceMintProcedure:      anybody,
	weftv1connect.SessionServiceDescribeProcedure:  anyToken,
	weftv1connect.SessionServiceEndProcedure:       anyToken,

	weftv1connect.SpaceServiceOfferProcedure:    keys.ActionCreate,
	weftv1connect.SpaceServiceDelegateProcedure: keys.ActionCreate,

	weftv1connect.DatabaseServiceCreateProcedure:      keys.ActionCreate,
	weftv1connect.DatabaseServiceListProcedure:        keys.ActionRead,
	weftv1connect.DatabaseServiceInfoProcedure:        keys.ActionRead,
	weftv1connect.DatabaseServiceStatusProcedure:      keys.ActionRead,
	weftv1connect.DatabaseServiceWatchStatusProcedure: keys.ActionRead,
	weftv1connect.DatabaseServiceRemoveProcedure:      keys.ActionRemove,

	// Run asks for db.write besides, of a command that is none of readers.
	weftv1connect.DocumentServiceRunProcedure:              keys.ActionRead,
	weftv1connect.DocumentServiceFindProcedure:             keys.ActionRead,
	weftv1connect.DocumentServiceCountProcedure:            keys.ActionRead,
	weftv1connect.DocumentServiceExportProcedure:           keys.ActionRead,
	weftv1connect.DocumentServiceWatchProcedure:            keys.ActionRead,
	weftv1connect.DocumentServiceRefusedProcedure:          keys.ActionRead,
	weftv1connect.DocumentServiceListCollectionsProcedure:  keys.ActionRead,
	weftv1connect.DocumentServiceListIndexesProcedure:      keys.ActionRead,
	weftv1connect.DocumentServiceInsertProcedure:           keys.ActionWrite,
	weftv1connect.DocumentServiceUpdateProcedure:           keys.ActionWrite,
	weftv1connect.DocumentServiceDeleteProcedure:           keys.ActionWrite,
	weftv1connect.DocumentServiceImportProcedure:           keys.ActionWrite,
	weftv1connect.DocumentServiceCreateCollectionProcedure: keys.ActionWrite,
	weftv1connect.DocumentServiceCreateIndexProcedure:      keys.ActionWrite,

	// Create asks for db.create besides, where it makes a database.
	weftv1connect.BucketServiceCreateProcedure:  keys.ActionWrite,
	weftv1connect.BucketServiceListProcedure:    keys.ActionRead,
	weftv1connect.BucketServiceEntriesProcedure: keys.ActionRead,
	weftv1connect.BucketServiceRootProcedure:    keys.ActionRead,
	weftv1connect.BucketServiceNodeProcedure:    keys.ActionRead,
	weftv1connect.BucketServiceCatProcedure:     keys.ActionRead,
	weftv1connect.BucketServicePullProcedure:    keys.ActionRead,
	weftv1connect.BucketServicePushProcedure:    keys.ActionWrite,
	weftv1connect.BucketServiceRemoveProcedure:  keys.ActionWrite,
	weftv1connect.BucketServiceDropProcedure:    keys.ActionWrite,

	// Who is a member, and what leaves this machine: dials, mail that the identity signs.
	weftv1connect.DatabaseServiceInviteProcedure:       nobody,
	weftv1connect.DatabaseServiceInvitesProcedure:      nobody,
	weftv1connect.DatabaseServiceJoinProcedure:         nobody,
	weftv1connect.DatabaseServiceMembersProcedure:      nobody,
	weftv1connect.DatabaseServiceRevokeInviteProcedure: nobody,
	weftv1connect.DatabaseServiceAdmitProcedure:        nobody,
	weftv1connect.DatabaseServiceSetRoleProcedure:      nobody,
	weftv1connect.DatabaseServiceRemoveMemberProcedure: nobody,
	weftv1connect.DatabaseServiceLeaveProcedure:        nobody,
	weftv1connect.DatabaseServiceTransferProcedure:     nobody,
	weftv1connect.DatabaseServiceRecoverProcedure:      nobody,
	weftv1connect.DatabaseServiceRotateProcedure:       nobody,
	weftv1connect.DatabaseServiceCompactProcedure:      nobody,
	weftv1connect.DatabaseServiceEraseProcedure:        nobody,
	weftv1connect.InboxServiceSetupProcedure:           nobody,
	weftv1connect.InboxServiceSendProcedure:            nobody,
	weftv1connect.InboxServiceListProcedure:            nobody,
	weftv1connect.InboxServiceReadProcedure:            nobody,
	weftv1connect.InboxServiceRemoveProcedure:          nobody,
	weftv1connect.InboxServiceSentProcedure:            nobody,
	weftv1connect.InboxServiceWatchProcedure:           nobody,

	// The node itself, and the account.
	weftv1connect.NodeServiceIdentifyProcedure: nobody,
	weftv1connect.NodeServiceStatusProcedure:   nobody,
	weftv1connect.NodeServicePeersProcedure:    nobody,
	weftv1connect.NodeServiceBackupProcedure:   nobody,
	weftv1connect.NodeServiceCheckProcedure:    nobody,
	weftv1connect.KeyServiceCreateProcedure:    nobody,
	weftv1connect.KeyServiceListProcedure:      nobody,
	weftv1connect.KeyServiceShowProcedure:      nobody,
	weftv1connect.KeyServiceRevokeProcedure:    nobody,
	weftv1connect.RelayServiceAddProcedure:     nobody,
	weftv1connect.RelayServiceListProcedure:    nobody,
	weftv1connect.RelayServiceRemoveProcedure:  nobody,
	weftv1connect.DeviceServiceAddProcedure:    nobody,
	weftv1connect.DeviceServiceAcceptProcedure: nobody,
	weftv1connect.DeviceServiceListProcedure:   nobody,
	weftv1connect.DeviceServiceRemoveProcedure: nobody,
}

// readers are the commands that write nothing and keep no transaction open, in lower case.
var readers = map[string]bool{
	"ping": true, "find": true, "count": true, "distinct": true, "aggregate": true, "getmore": true, "killcursors": true,
	"listcollections": true, "listindexes": true, "validate": true, "watch": true, "live": true, "refused": true, "conflicts": true,
}

// reads reports whether a command is one of readers, outside a transaction, and no aggregation
// that writes its result.
func reads(command bson.Raw) bool {
	elements, err := command.Elements()
	if err != nil || len(elements) == 0 || !readers[strings.ToLower(elements[0].Key())] {
		return false
	}
	for _, e := range elements {
		switch e.Key() {
		case "autocommit", "startTransaction", "txnNumber":
			return false
		case "pipeline":
			stages, ok := e.Value().ArrayOK()
			if !ok {
				return false
			}
			values, err := stages.Values()
			if err != nil {
				return false
			}
			for _, v := range values {
				if d, ok := v.DocumentOK(); !ok || firstKey(d) == "$out" || firstKey(d) == "$merge" {
					return false
				}
			}
		}
	}
	return true
}

// A caller is who calls at the remote listener.
type caller struct {
	here    func(authority string) bool // the listener's
	session *node.Session               // nil for a call that anybody may make
	space   *node.Space
	may     func(keys.Action) error
}

type callerKey struct{}

// callerOf returns who calls; nil for the administrator, at the local listener.
func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	return c
}

// space returns where the databases are that a call names.
func space(ctx context.Context, n *node.Node) *node.Space {
	if c := callerOf(ctx); c != nil {
		return c.space
	}
	return n.Own()
}

// may asks whether the caller of a call may do more than the call needs.
func may(ctx context.Context, a keys.Action) error {
	if c := callerOf(ctx); c != nil {
		return c.may(a)
	}
	return nil
}
