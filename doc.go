// Package weft is the module of Weft, a peer-to-peer embeddable database. It
// holds no code: programs embed package node, and the binary is cmd/weft.
//
//	node     one libp2p node: databases, buckets, inbox, relay, API
//	db       documents: collections whose state is the fold of operations
//	net      threads: signed, sealed logs that replicate
//	buckets  folders whose IPLD DAG is derived from their entries
//	inbox    sealed, signed messages between identities
//	keys     identities, devices, API keys and the one policy decision
package weft
