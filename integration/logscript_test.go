package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"upkeep/supervise/status"
)

// TestLogScriptLikeReal: what the scanner writes by log/multilog are the files of the
// real multilog, byte for byte.
func TestLogScriptLikeReal(t *testing.T) {
	t.Parallel()
	real := peer(t, "multilog")
	scripts := []string{
		"./x/d",
		"t ./x/d",
		"s4096 n100 ./x/d",
		"t s4096 n3 ./x/d",
		"t s5001 n100 '-*one*' ./x/d '+*two*' ./x/e =x/s",
		"-* '+one*' ./x/d",
		"s4096 n100 !'tr a-z A-Z' ./x/d",
		"!'cat <&4;cat;(cat <&4;echo y)>&5' s9000 n100 ./x/d",
	}
	files, inputs := tree{}, multilogInputs()
	for i, script := range scripts {
		for k, in := range inputs {
			name := fmt.Sprintf("service/s%d.%d", i, k)
			files[name+"/in"] = string(in.text[:min(len(in.text), 65536)])
			files[name+"/run!"] = "#!/bin/sh\ncat in; : >done; exec sleep 1000\n"
			files[name+"/log/multilog"] = script + "\n"
			files[name+"/log/down"] = ""
			files[name+"/log/x/"] = ""
		}
	}
	f := newFaultScene(t, files)
	each := func(do func(name, script string, in []byte)) {
		for i, script := range scripts {
			for k, in := range inputs {
				do(fmt.Sprintf("s%d.%d", i, k), script, in.text[:min(len(in.text), 65536)])
			}
		}
	}
	each(func(name, _ string, _ []byte) {
		if !waitDir(t, f.dir(name), func() bool { return unix.Access(f.dir(name, "done"), unix.F_OK) == nil }) {
			t.Fatalf("%s does not write", name)
		}
	})
	each(func(name, _ string, _ []byte) { f.tell(name+"/log", "u") })
	each(func(name, _ string, _ []byte) { f.wait(name+"/log", up) })
	f.scanner.stop() // which has it read to the end
	each(func(name, script string, in []byte) {
		dir := f.path("real", name)
		if err := os.MkdirAll(filepath.Join(dir, "x"), 0o755); err != nil {
			t.Fatal(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(in)
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd := exec.Command("sh", "-fc", "exec "+real+" "+script)
		f.furnish(cmd)
		var out bytes.Buffer
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, r, &out
		if err := cmd.Run(); err != nil {
			t.Fatal(err, out.String())
		}
		compareTrees(t, name+" "+script, multilogTree(t, f.dir(name, "log/x")), multilogTree(t, filepath.Join(dir, "x")))
	})
}

// logScript is a service that writes the lines that are put into its file say, and whose
// log the scanner writes by a script.
func logScript(t *testing.T, script string) *faultScene {
	t.Helper()
	return newFaultScene(t, tree{
		"service/web/say":          "",
		"service/web/run!":         "#!/bin/sh\nexec tail -n +1 -f say\n",
		"service/web/log/multilog": script,
		// Which the scanner has open as well.
		"service/another/run!":         faultSleeper,
		"service/another/log/multilog": t.TempDir() + "/another\n",
	})
}

func (f *faultScene) say(name, lines string) {
	f.t.Helper()
	file, err := os.OpenFile(f.dir(name, "say"), os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = file.WriteString(lines)
		file.Close()
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// current waits until the file that is written to is as it should be.
func (f *faultScene) current(want string) {
	f.t.Helper()
	dir := f.dir("web/log")
	if !waitDir(f.t, dir, func() bool { return unix.Access(dir+"/main/current", unix.F_OK) == nil }) {
		f.t.Fatal("there is no log")
	}
	waitFile(f.t, dir+"/main/current", func(c string) bool { return c == want })
}

func (f *faultScene) old() []string {
	f.t.Helper()
	names, err := filepath.Glob(f.dir("web/log/main/@*"))
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

// TestLogScriptControl has the real svc and svstat at a log that has no process.
func TestLogScriptControl(t *testing.T) {
	t.Parallel()
	f := logScript(t, "# all\n./main\n")
	svc, svstat := peer(t, "svc"), peer(t, "svstat")
	tell := func(options string) {
		t.Helper()
		if r := f.run(svc, options, f.dir("web/log")); r.code != 0 {
			t.Fatal(r)
		}
	}
	first := f.wait("web/log", up)
	f.wait("another/log", up)
	if int(first.PID) != f.scanner.pid {
		t.Errorf("pid %d, want the scanner's, %d", first.PID, f.scanner.pid)
	}
	if r := f.run(svstat, f.dir("web/log")); !strings.HasPrefix(r.stdout, fmt.Sprintf("%s: up (pid %d) ", f.dir("web/log"), f.scanner.pid)) {
		t.Errorf("%v", r)
	}
	f.say("web", "one\n")
	f.current("one\n")

	if r := f.run(ours(t, "upkeep"), "log", f.dir("web")); r.code != 0 || !strings.HasSuffix(r.stdout, "one\n") {
		t.Errorf("%v", r)
	}

	tell("-a")
	f.current("")
	if old := f.old(); len(old) != 1 || !strings.HasSuffix(old[0], ".s") {
		t.Errorf("%q", old)
	}
	f.say("web", "two\nbegin")
	f.current("two\n")

	// The beginning of a line is not lost to whoever reads on.
	f.make(tree{"service/web/log/multilog": "'-*no*' ./main"})
	tell("-h")
	f.wait("web/log", func(r status.Record, alive bool) bool { return up(r, alive) && r.Since != first.Since })
	f.say("web", "ning\nno\nthree\n")
	f.current("two\nbeginning\nthree\n")

	tell("-p")
	f.wait("web/log", func(r status.Record, alive bool) bool { return up(r, alive) && r.Paused })
	f.say("web", "four\n")
	tell("-d")
	f.wait("web/log", down)
	f.say("web", "five\n")
	f.current("two\nbeginning\nthree\n")
	tell("-u")
	f.current("two\nbeginning\nthree\nfour\nfive\n")

	// Killed is killed: what is there is put aside as after a crash.
	last := f.wait("web/log", up)
	tell("-k")
	f.wait("web/log", func(r status.Record, alive bool) bool { return up(r, alive) && r.Since != last.Since })
	f.say("web", "six\n")
	f.current("six\n")
	if old := f.old(); len(old) != 2 || !strings.HasSuffix(old[1], ".u") {
		t.Errorf("%q", old)
	}
	f.scanner.stop()
	if st, err := os.Stat(f.dir("web/log/main/current")); err != nil || st.Mode().Perm() != 0o744 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// TestLogScriptFaults: what is wrong with a script or with a directory is said once,
// and is tried again; the service has nothing to do with it.
func TestLogScriptFaults(t *testing.T) {
	t.Parallel()
	f := logScript(t, "t './main\n")
	web := f.wait("web", up).PID
	f.says("supervise: fatal: unable to read web/log/multilog: a quotation does not end")
	f.make(tree{"service/web/log/multilog": "./no/main\n"})
	f.says("supervise: fatal: web/log: unable to open directory ./no/main: file does not exist")
	f.attempts("web/log", 1)
	f.say("web", "waits\n")
	f.make(tree{"service/web/log/multilog": "./main\n"})
	f.current("waits\n")

	// A log service like any other takes over, and gives it back.
	f.make(tree{"service/web/log/run!": "#!/bin/sh\nexec cat >>lines\n"})
	if err := os.Remove(f.dir("web/log/multilog")); err != nil {
		t.Fatal(err)
	}
	f.tell("web/log", "t")
	f.wait("web/log", func(r status.Record, alive bool) bool { return up(r, alive) && int(r.PID) != f.scanner.pid })
	f.say("web", "cat\n")
	waitFile(t, f.dir("web/log/lines"), func(c string) bool { return c == "cat\n" })
	f.make(tree{"service/web/log/multilog": "./main\n"})
	f.tell("web/log", "t")
	f.wait("web/log", func(r status.Record, alive bool) bool { return up(r, alive) && int(r.PID) == f.scanner.pid })
	f.say("web", "again\n")
	f.current("waits\nagain\n")
	if r := f.wait("web", up); r.PID != web {
		t.Errorf("the service was %d and is %d", web, r.PID)
	}
}

// TestLogScriptProcessor: one that hangs keeps nobody but its own log, and can be
// killed with it.
func TestLogScriptProcessor(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/say":            "",
		"service/web/run!":           "#!/bin/sh\nexec tail -n +1 -f say\n",
		"service/web/log/multilog":   "./main\n",
		"service/stuck/say":          "one\n",
		"service/stuck/run!":         "#!/bin/sh\nexec tail -n +1 -f say\n",
		"service/stuck/log/multilog": "!'echo $$ >../pid; exec sleep 1000' ./main\n",
	})
	waitDir(t, f.dir("stuck/log"), func() bool { return unix.Access(f.dir("stuck/log/main/current"), unix.F_OK) == nil })
	waitFile(t, f.dir("stuck/log/main/current"), func(c string) bool { return c == "one\n" })
	f.tell("stuck/log", "a")
	text := waitFile(t, f.dir("stuck/log/pid"), func(c string) bool { return strings.HasSuffix(c, "\n") })
	f.say("web", "one\n")
	f.current("one\n")
	f.upgraded() // which waits for nobody
	f.say("web", "two\n")
	f.current("one\ntwo\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(text))
	_ = unix.Kill(pid, unix.SIGKILL) // nobody waits for it any more
	f.say("stuck", "two\n")
	waitFile(t, f.dir("stuck/log/main/current"), func(c string) bool { return c == "two\n" })
	f.tell("stuck/log", "a")
	waitFile(t, f.dir("stuck/log/pid"), func(c string) bool { return strings.HasSuffix(c, "\n") && c != text })
	text = f.read("service/stuck/log/pid")
	pid, _ = strconv.Atoi(strings.TrimSpace(text))
	f.make(tree{"service/stuck/log/multilog": "./main\n"})
	f.tell("stuck/log", "k")
	waitEnd(t, pid)
	f.wait("stuck/log", up)
}

// TestLogScriptDiskFull: a full disk holds up those who log there, each is told of
// once, and no line is lost.
func TestLogScriptDiskFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const line = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	f := prepareFault(t, tree{
		"service/web/say":           "",
		"service/web/run!":          "#!/bin/sh\nexec tail -n +1 -f say\n",
		"service/web/log/multilog":  "./main\n",
		"service/full/run!":         "#!/bin/sh\ni=0; while [ $i -lt 3000 ]; do echo " + line + "; i=$((i+1)); done; exec sleep 1000\n",
		"service/full/log/multilog": "s16000000 ./d/main\n",
		"service/full/log/d/":       "",
	})
	f.begin("/usr/bin/unshare", "-m", "/bin/sh", "-c", `mount -t tmpfs -o size=200k none "$1" || exit 99; shift; exec "$@"`, "sh", f.dir("full/log/d"))
	f.sees()
	f.says("supervise: warning: full/log: unable to write to ./d/main/current, pausing: out of disk space")
	f.say("web", "one\n")
	f.current("one\n")
	if r := f.run("/usr/bin/nsenter", "-t", strconv.Itoa(f.scanner.pid), "-m", "mount", "-o", "remount,size=1m", f.path("service/full/log/d")); r.code != 0 {
		t.Fatal(r)
	}
	want := strings.Repeat(line+"\n", 3000)
	f.until("all of it is written", func() bool {
		got, err := os.ReadFile(f.dir("full/log/d/main/current"))
		return err == nil && string(got) == want
	})
}

// TestLogScriptKeeper: if the process that keeps the pipes dies, another one does it;
// and what a service has written that ends with the scanner is there.
func TestLogScriptKeeper(t *testing.T) {
	t.Parallel()
	f := newFaultScene(t, tree{
		"service/web/run!":         "#!/bin/sh\nread n <n; echo $((n+1)) >n; echo start $n; printf begin; : >wrote$n; exec sleep 1000\n",
		"service/web/n":            "0\n",
		"service/web/log/multilog": "./main\n",
		"service/web/log/down":     "",
	})
	wrote := func(n int) {
		t.Helper()
		name := f.dir("web", fmt.Sprint("wrote", n))
		if !waitDir(t, f.dir("web"), func() bool { return unix.Access(name, unix.F_OK) == nil }) {
			t.Fatalf("no %s", name)
		}
	}
	keeper := func(not int) (pid int) {
		t.Helper()
		f.until("there is a keeper", func() bool {
			for _, pid = range f.children() {
				if r, ok := lookAt(pid); ok && r.state != 'Z' && pid != not && strings.HasPrefix(r.command, "upkeep keep-pipes") {
					return true
				}
			}
			return false
		})
		return pid
	}
	web := f.wait("web", up).PID
	wrote(0)
	first := keeper(0)
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFile(t, f.scanner.stderr, func(c string) bool {
		return c == "svscan: warning: the keeper of log pipes is gone, starting another\n"
	})
	keeper(first)
	f.crash(func() {
		f.signal(web, unix.SIGKILL)
		waitEnd(t, int(web))
	})
	web = f.wait("web", upAnew(web)).PID
	wrote(1)
	f.tell("web/log", "u")
	f.current("start 0\nbeginstart 1\n")
	// The beginning of a line as well, which the writer has seen already.
	f.crash(func() {
		f.signal(web, unix.SIGKILL)
		waitEnd(t, int(web))
	})
	f.wait("web", upAnew(web))
	wrote(2)
	f.current("beginstart 2\n")
}
