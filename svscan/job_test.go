package svscan

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"upkeep/supervise"
)

// jobber is a caller of Jobs, which prints what it is told.
func jobber() {
	type news struct {
		job *Job
		ev  JobEvent
	}
	heard, output, changed := make(chan news, 100), make(chan string, 100), make(chan bool, 1)
	s, err := NewJobs(JobsConfig{
		Report:  func(r Report) { fmt.Println("report:", r.Verb, r.Object) },
		Heard:   func(j *Job, ev JobEvent) { heard <- news{j, ev} },
		Output:  func(j *Job, _ int32, text []byte) { output <- j.Name() + " " + string(text) },
		Changed: func() { changed <- true },
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(111)
	}
	p := supervise.PolicyFor(supervise.Daemontools)
	p.Pause, p.PermanentRun = 0, 33
	hear := func(kinds ...JobEventKind) (ev JobEvent) {
		for _, k := range kinds {
			n := <-heard
			if ev = n.ev; ev.Kind != k {
				fmt.Printf("heard %+v of %s, not %d\n", ev, n.job.Name(), k)
			}
		}
		return ev
	}
	// end is what comes after TERM: CONT, unless that has found nobody, and the end.
	end := func() JobEvent {
		n := <-heard
		if n.ev.Kind == JobSignaled {
			n = <-heard
		}
		if n.ev.Kind != JobEnded {
			fmt.Printf("heard %+v of %s, not the end\n", n.ev, n.job.Name())
		}
		return n.ev
	}
	sh := func(script string) *JobSpec {
		return &JobSpec{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"A=b"}, Policy: &p}
	}
	add := func(name string, spec *JobSpec) *Job {
		j, err := s.Add(name, spec)
		if err != nil {
			fmt.Println(err)
			os.Exit(111)
		}
		return j
	}

	web := add("web", sh("printf \"$A\\nrest\"; exec sleep 1000"))
	hear(JobStarted)
	fmt.Print(<-output)
	if err := web.Redefine(sh("exit 33")); err != nil {
		fmt.Println(err)
	}
	fmt.Println(hear(JobSignaled).Signal)
	fmt.Println(end().Status.Signal())
	fmt.Print(<-output)
	hear(JobStarted)
	fmt.Println(hear(JobEnded).Status.Code())
	web.Control('o')
	hear(JobStarted, JobEnded)
	web.Remove()
	hear(JobGone)

	none := add("none", &JobSpec{Path: "/no/such", Args: []string{"x"}, Once: true, Policy: &p})
	fmt.Println(hear(JobFailed).Err)
	none.Remove()
	hear(JobGone)

	// A panic costs the process and the job, and nothing else.
	other := add("other", sh("exec sleep 1000"))
	hear(JobStarted)
	inject = func(name, where string) {
		if name == "breaks" && where == "signal" {
			panic("injected")
		}
	}
	breaks := add("breaks", sh("exec sleep 1000"))
	hear(JobStarted)
	breaks.Control('t')
	fmt.Println(hear(JobEnded).Status.Signal())
	hear(JobGone)
	other.Remove()
	hear(JobSignaled)
	end()
	hear(JobGone)

	text, err := s.Ask(5*time.Second, "/bin/echo", "an", "answer")
	fmt.Printf("%q %v\n", text, err)
	_, err = s.Ask(5*time.Second, "/bin/false")
	fmt.Println(err)
	_, err = s.Ask(50*time.Millisecond, "/bin/sleep", "1000")
	fmt.Println(err == unix.ETIMEDOUT, s.k.table.Children() <= 1)
	fmt.Println(s.Watch([]string{os.Args[1] + "/file"}))
	if err := os.WriteFile(os.Args[1]+"/file", nil, 0o600); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-changed)
	s.Drain()
}

func TestJobs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe", t.TempDir())
	cmd.Args[0] = "jobber"
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Signal(unix.SIGQUIT) }) // and it says where it is
	defer limit.Stop()
	err := cmd.Wait()
	const want = "web b\nterminated\n15\nweb rest\n33\nno such file or directory\n" +
		"report: internal error: injected (in breaks) \n9\n\"an answer\\n\" <nil>\nno such file or directory\ntrue true\ntrue\ntrue\n"
	if got := strings.ReplaceAll(out.String(), "web restweb", "web rest\nweb"); err != nil || got != want {
		t.Errorf("%v, got\n%s\nwant\n%s", err, got, want)
	}
}
