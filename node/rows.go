package node

// The node's own part of the store's key space, and the parts that it gives
// away. Each begins with its own byte; package net has 'n'.
const (
	prefixAPIKey   = "wk/" // ‖ public key → API key
	prefixDatabase = "wd/" // ‖ name → databaseRow
	prefixRelay    = "wr/" // ‖ peer ID → relayRow
	prefixRemoved  = "wx/" // ‖ thread ID → number of a database whose removal is not complete
	keyNumber      = "wn"  // the last database number that was given, decimal
	prefixHub      = "wh/" // package hosting: for whom a hub writes
	prefixFold     = 'd'   // ‖ database number (uvarint) → package db
	prefixMail     = "m/"  // package inbox: mail that this node keeps as a relay
)
