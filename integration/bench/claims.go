package main

import "time"

// claim is something that the suite promises, and what this run says about it.
type claim struct {
	text   string
	unit   string
	digits int
	bound  float64
	strict bool // the bound itself is too much
	as     bool // measured as claimed, so that it may be judged
	value  float64
	ok     bool // measured at all
}

// The services and the time without work that the claims are about.
const (
	claimedServices = 1000
	claimedIdle     = 30 * time.Second
)

// holds is only meaningful for what was measured as claimed.
func (c claim) holds() bool { return c.value < c.bound || !c.strict && c.value == c.bound }

func (c claim) failed() bool { return c.ok && c.as && !c.holds() }

func (c claim) verdict() string {
	switch {
	case !c.ok:
		return "not measured"
	case !c.as:
		return "not judged"
	case c.holds():
		return "pass"
	}
	return "FAIL"
}

// claims are all of them. place is where all was measured but the startup.
func claims(r *results, place string, o options) []claim {
	few, many := o.n[0], o.n[0]
	for _, n := range o.n {
		few, many = min(few, n), max(many, n)
	}
	at := func(m metric, n int) key { return key{m, place, n, ours} }
	// ratio is that of our median to the real one's.
	ratio := func(text string, bound float64, as bool, k key) claim {
		c := claim{text: text, digits: 3, bound: bound, as: as}
		k.suite = ours
		to := k
		to.suite = reference
		c.value, c.ok = r.ratio(k, to)
		return c
	}
	median := func(c claim, k key) claim {
		c.value, c.ok = r.median(k)
		return c
	}
	full := many == claimedServices

	perService := claim{text: "private dirty memory of the scanner per service, over that with one service", unit: "KiB", digits: 2, bound: 5, as: full}
	base, okBase := r.median(at(metricDirty, few))
	all, okAll := r.median(at(metricDirty, many))
	if perService.ok = okBase && okAll && many > few; perService.ok {
		perService.value = (all - base) / float64(many-few)
	}
	perService.as = perService.as && few == 1

	spawn := claim{text: "cost of a spawn with 1000 services / with 10 (restart after SIGKILL: the same steps, and no file is created)", digits: 3, bound: 1.5, as: full}
	spawn.value, spawn.ok = r.ratio(at(metricSpawn, min(spawnMany, many)), at(metricSpawn, min(spawnFew, many)))

	return []claim{
		perService,
		ratio("PSS of all supervisors / daemontools", 0.08, full, at(metricPSS, many)),
		median(claim{text: "threads", bound: 12, as: full}, at(metricThreads, many)),
		median(claim{text: "context switches of the scanner in 30 idle seconds", as: full && o.idle >= claimedIdle}, at(metricSwitches, many)),
		ratio("fresh tree on disk until all are up / daemontools", 0.6, full, key{metricAllUp, onDisk, many, ""}),
		ratio("fresh tree on tmpfs until all are up / daemontools", 0.75, full, key{metricAllUp, onTmpfs, many, ""}),
		ratio("restart after SIGKILL, 50 services / daemontools", 0.75, true, at(metricRestart, restartServices)),
		spawn,
		median(claim{text: "new directory to running service", unit: "ms", digits: 1, bound: 50, strict: true, as: true}, at(metricDetect, detectServices)),
		ratio("supervisors' CPU per restart, 200 services in a storm / daemontools", 0.45, true, at(metricStorm, stormServices)),
		ratio("svstat of all services / daemontools", 1.2, full, at(metricSvstat, many)),
		ratio("svc -h of one service / daemontools", 1.6, true, at(metricSvc, many)),
	}
}
