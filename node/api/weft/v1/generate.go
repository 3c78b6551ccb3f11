// Package weftv1 is the generated code of the node's API. Its schema,
// weft.proto, tells what the calls do.
package weftv1

//go:generate protoc -I ../../ --go_out=../../ --go_opt=paths=source_relative --connect-go_out=../../ --connect-go_opt=paths=source_relative weft/v1/weft.proto
