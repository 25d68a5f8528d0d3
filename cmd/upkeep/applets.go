package main

import (
	"upkeep/compat/cli"
	"upkeep/compat/daemontools"
	"upkeep/compat/encore"
	"upkeep/compat/filters"
	"upkeep/compat/loaders"
	"upkeep/compat/logger"
	"upkeep/compat/pmtr"
	"upkeep/compat/runit"
	"upkeep/compat/s6"
)

// applets are the programs, in the order of --list.
var applets = [...]struct {
	name string
	run  cli.Applet
}{
	{"chpst", loaders.Chpst},
	{"conf2dir", confToDir},
	{"envdir", loaders.Envdir},
	{"envini", loaders.Envini},
	{"envuidgid", loaders.Envuidgid},
	{"fghack", loaders.Fghack},
	{"multilog", logger.Multilog},
	{"onconnect", pmtr.Onconnect},
	{"pgrphack", loaders.Pgrphack},
	{"pmtr", pmtr.Pmtr},
	{"pmtr-launch", loaders.PmtrLaunch},
	{"pmtr-udp", pmtr.Agent},
	{"readproctitle", filters.Readproctitle},
	{"runit", runit.Runit},
	{"runit-init", runit.RunitInit},
	{"runsv", runit.Runsv},
	{"runsvchdir", runit.Runsvchdir},
	{"runsvctrl", runit.Runsvctrl},
	{"runsvdir", runit.Runsvdir},
	{"runsvstat", runit.Runsvstat},
	{"s6-log", logger.S6Log},
	{"s6-supervise", s6.Supervise},
	{"s6-svc", s6.Svc},
	{"s6-svdt", s6.Svdt},
	{"s6-svdt-clear", s6.SvdtClear},
	{"s6-svlink", s6.Svlink},
	{"s6-svok", s6.Svok},
	{"s6-svscan", s6.Svscan},
	{"s6-svscanctl", s6.Svscanctl},
	{"s6-svstat", s6.Svstat},
	{"s6-svunlink", s6.Svunlink},
	{"s6-svwait", s6.Svwait},
	{"setlock", loaders.Setlock},
	{"setuidgid", loaders.Setuidgid},
	{"setuser", loaders.Setuser},
	{"softlimit", loaders.Softlimit},
	{"supervise", daemontools.Supervise},
	{"sv", runit.Sv},
	{"svc", svc},
	{"svlogd", logger.Svlogd},
	{"svok", svok},
	{"svscan", daemontools.Svscan},
	{"svscanboot", daemontools.Svscanboot},
	{"svstat", svstat},
	{"svup", svup},
	{"svwaitdown", runit.Svwaitdown},
	{"svwaitup", runit.Svwaitup},
	{"tai64n", filters.Tai64n},
	{"tai64nlocal", filters.Tai64nlocal},
	{"utmpset", runit.Utmpset},
}

func find(name string) cli.Applet {
	for i := range applets {
		if applets[i].name == name {
			return applets[i].run
		}
	}
	// chpst has aliases, and passes over a "d" before them and its own name.
	switch name {
	case "dchpst", "denvdir", "denvuidgid", "dpgrphack", "dsetlock", "dsetuidgid", "dsoftlimit":
		return loaders.Chpst
	}
	return nil
}

// The clients of daemontools and encore share their names: UPKEEP_DIALECT
// decides which one is meant.
func encoreMeant(env *cli.Env) bool {
	d, _ := env.Getenv("UPKEEP_DIALECT")
	return d == "encore"
}

func svc(env *cli.Env, args []string) int {
	if encoreMeant(env) {
		return encore.Svc(env, args)
	}
	return daemontools.Svc(env, args)
}

func svok(env *cli.Env, args []string) int {
	if encoreMeant(env) {
		return encore.Svok(env, args)
	}
	return daemontools.Svok(env, args)
}

func svstat(env *cli.Env, args []string) int {
	if encoreMeant(env) {
		return encore.Svstat(env, args)
	}
	return daemontools.Svstat(env, args)
}

func svup(env *cli.Env, args []string) int {
	if encoreMeant(env) {
		return encore.Svup(env, args)
	}
	return encore.SvupDefault(env, args)
}
