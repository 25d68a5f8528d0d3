package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkMultilog compares ours with the real one: lines of 100 bytes with t and
// rotation, in writes of 64 KiB and in writes of one line.
//
//	go test ./integration -run '^$' -bench Multilog -benchtime 1000000x
//
// The measure is lines per second of processor time, of which the machine being
// busy takes less away than of lines per second.
func BenchmarkMultilog(b *testing.B) {
	line := []byte(strings.Repeat("x", 99) + "\n")
	many := bytes.Repeat(line, 65536/len(line))
	for _, c := range []struct {
		name  string
		write []byte
	}{{"blocks", many}, {"lines", line}} {
		for _, whose := range []string{"real", "ours"} {
			b.Run(c.name+"/"+whose, func(b *testing.B) {
				s := newSite(b, nil)
				program := ""
				if whose == "ours" {
					program = ours(b, "multilog")
				} else {
					program = peer(b, "multilog")
				}
				r, w, err := os.Pipe()
				if err != nil {
					b.Fatal(err)
				}
				defer w.Close()
				cmd := exec.Command(program, "t", "s1600000", "./d")
				s.furnish(cmd)
				cmd.Stdin, cmd.Stderr = r, os.Stderr
				err = cmd.Start()
				r.Close()
				if err != nil {
					b.Fatal(err)
				}
				lines := 0
				b.SetBytes(int64(len(line)))
				b.ResetTimer()
				for lines < b.N {
					n, err := w.Write(c.write)
					if err != nil {
						b.Fatal(err)
					}
					lines += n / len(line)
				}
				w.Close()
				if err := cmd.Wait(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
				b.ReportMetric(float64(lines)/cpu.Seconds(), "lines/cpu-s")
				if st, err := os.Stat(filepath.Join(s.root, "d/current")); err != nil || st.Mode().Perm() != 0o744 {
					b.Errorf("current: %v, %v", st, err)
				}
			})
		}
	}
}
