// Package net replicates threads: sets of signed, sealed, single-writer logs.
// It moves authenticated bytes and knows no documents.
//
//	Host ── Thread ── Log ── Record      what a node holds
//	 └───── Peer ── Session              whom it exchanges with
//
// A [Host] is one libp2p host with the threads of one device. A [Thread] keeps
// control logs (members, invites, keys), which it folds itself, and data logs,
// whose payloads it seals, orders by arrival and hands to whoever attached. A
// relay is a Host that serves threads it has only the service keys of.
//
// Every transfer of records is a pull that follows: the receiver subscribes with
// the heads that it has, and the sender streams runs from there on, live ones
// included. Formats: docs/design.md and docs/design/net.md.
package net
