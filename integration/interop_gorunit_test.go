package integration

import (
	"errors"
	"slices"
	"testing"
	"time"

	gorunit "github.com/prometheus-community/go-runit/runit"

	"upkeep/supervise/status"
)

// TestGoRunit: the library with which node_exporter reads a tree of runit finds
// the same in ours: which services there are, their state, their wish, their pid
// and since when. It knows nothing of pauses, and looks for the file down in the
// wrong directory, so that all services are normally up to it.
func TestGoRunit(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"", "runit"} {
		t.Run("dialect "+dialect, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tree{
				"etc/linked/run!":  "#!/bin/sh\nexec tracer\n",
				"scan/linked@":     "../etc/linked",
				"scan/off/run!":    "#!/bin/sh\nexec tracer\n",
				"scan/off/down":    "",
				"scan/a/run!":      "#!/bin/sh\nexec tracer\n",
				"scan/a/log/run!":  "#!/bin/sh\nexec cat >lines\n",
				"scan/end/run!":    "#!/bin/sh\nexit 1\n",
				"scan/end/finish!": "#!/bin/sh\nexec tracer\n",
			})
			s.setenv("UPKEEP_DIALECT", dialect)
			scanner := s.svscan(ours(t, "svscan"), "scan")
			waitLines(t, s.path("scan/end/trace"), 1) // by now it has a status
			pidOf := func(name string, c condition) int { return int(waitStatus(t, s.path("scan", name), c).PID) }
			// finish is only told apart from run by the last of runit's 20 bytes.
			waitFile(t, s.path("scan/end/supervise/status"), func(c string) bool {
				r, err := status.Decode([]byte(c), status.Runit)
				return err == nil && r.Process == status.ProcessFinish && r.PID != 0
			})
			want := map[string]gorunit.SvStatus{
				"linked": {Pid: pidOf("linked", up), State: gorunit.StateUp, Want: gorunit.StateUp},
				"off":    {Pid: pidOf("off", down), State: gorunit.StateDown, Want: gorunit.StateDown},
				"a":      {Pid: pidOf("a", up), State: gorunit.StateUp, Want: gorunit.StateUp},
				"end":    {Pid: pidOf("end", up), State: gorunit.StateFinish, Want: gorunit.StateUp},
			}

			services, err := gorunit.GetServices(s.path("scan"))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, v := range services {
				names = append(names, v.Name)
				st, err := v.Status()
				if err != nil {
					t.Errorf("%s: %v", v.Name, err)
					continue
				}
				checkGoRunit(t, v.Name, st, want[v.Name])
			}
			if !slices.Equal(names, []string{"a", "end", "linked", "off"}) {
				t.Errorf("the services are %q", names)
			}

			logger, err := gorunit.GetService("log", s.path("scan/a")).Status()
			if err != nil {
				t.Fatal(err)
			}
			checkGoRunit(t, "a/log", logger, gorunit.SvStatus{Pid: pidOf("a/log", up), State: gorunit.StateUp, Want: gorunit.StateUp})
			// Or else the scanner would leave finish its time to end.
			if err := errors.Join(s.control("scan/end", "d"), kill(want["end"].Pid)); err != nil {
				t.Fatal(err)
			}
			waitStatus(t, s.path("scan/end"), down)
			scanner.stop()
		})
	}
}

func checkGoRunit(t *testing.T, name string, got *gorunit.SvStatus, want gorunit.SvStatus) {
	t.Helper()
	if got.Pid != want.Pid || got.State != want.State || got.Want != want.Want || !got.NormallyUp {
		t.Errorf("%s is %+v, want %+v", name, got, want)
	}
	if age := time.Since(got.Timestamp); age < 0 || age > 2*patience || got.Duration < 0 || got.Duration > int(age.Seconds())+1 {
		t.Errorf("%s is so since %v, for %d seconds", name, got.Timestamp, got.Duration)
	}
}
