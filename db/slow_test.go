//go:build slow

package db_test

import (
	"testing"

	"github.com/weftdb/weft/internal/store/engines"
)

func TestSlowKill(t *testing.T) { kill(t, 100) }

func TestSlowReplicasConverge(t *testing.T) { converge(t, 1000) }

func TestSlowFoldIsTheReference(t *testing.T) {
	checks(t, "2000")
	TestFoldIsTheReference(t)
}

func TestSlowContestedDefinitions(t *testing.T) {
	checks(t, "5000")
	TestContestedDefinitions(t)
}

func TestSlowRolesDecideWhoDefines(t *testing.T) {
	checks(t, "1500")
	TestRolesDecideWhoDefines(t)
}

func TestSlowForeignCutConverges(t *testing.T) {
	checks(t, "1000")
	TestForeignCutConverges(t)
}

func TestSlowVoidIsASet(t *testing.T) {
	checks(t, "2000")
	TestVoidIsASet(t)
}

func TestSlowStepsSurviveTheEnd(t *testing.T) {
	checks(t, "500")
	TestStepsSurviveTheEnd(t)
}

func TestSlowLongHistories(t *testing.T) {
	checks(t, "60")
	longHistories(t)
}

func TestSlowCachedStatesChangeNothing(t *testing.T) { cachedStates(t, 800) }

func TestSlowEverythingConverges(t *testing.T) {
	checks(t, "800")
	everythingConverges(t, 40)
}

func TestSlowFeeds(t *testing.T) {
	checks(t, "2000")
	TestLiveIsFind(t)
	TestFilteredWatch(t)
	TestRefusedWatchIsTheList(t)
	TestCopiesByWatch(t)
}

func TestSlowPlansAgree(t *testing.T) {
	checks(t, "2000")
	TestPlansAgree(t)
	plansDuringWrites(t, 2000)
}

func TestSlowPlansAgreeOnDisk(t *testing.T) {
	checks(t, "500")
	st, err := engines.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	planned(t, st)
}
