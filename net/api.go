package net

import (
	"github.com/weftdb/weft/net/internal/format"
	"github.com/weftdb/weft/net/internal/thread"
)

// What a thread is made of, named where it is written and read.
type (
	ThreadID = format.ThreadID
	BlobID   = format.BlobID
	Role     = format.Role
	Invite   = format.Invite

	Draft         = thread.Draft
	Entry         = thread.Entry
	Arrival       = thread.Arrival
	Attachment    = thread.Attachment
	Cut           = thread.Cut
	Snapshot      = thread.Snapshot
	Coverage      = thread.Coverage
	Member        = thread.Member
	InviteInfo    = thread.InviteInfo
	InviteOptions = thread.InviteOptions
	Counts        = thread.Counts
	Waiting       = thread.Waiting
	Fork          = thread.Fork
	SignedHead    = thread.SignedHead
	Refusal       = thread.Refusal
	Rejection     = thread.Rejection
)
