//go:build slow

package db_test

import "testing"

func TestSlowKill(t *testing.T) { kill(t, 100) }

func TestSlowReplicasConverge(t *testing.T) { converge(t, 1000) }

func TestSlowFoldIsTheReference(t *testing.T) {
	checks(t, "5000")
	TestFoldIsTheReference(t)
}

func TestSlowVoidIsASet(t *testing.T) {
	checks(t, "5000")
	TestVoidIsASet(t)
}

func TestSlowStepsSurviveTheEnd(t *testing.T) {
	checks(t, "1000")
	TestStepsSurviveTheEnd(t)
}

func TestSlowLongHistories(t *testing.T) {
	checks(t, "500")
	longHistories(t)
}
