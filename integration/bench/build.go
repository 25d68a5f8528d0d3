package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"upkeep/integration/shipped"
)

//go:embed helpers/*.c
var sources embed.FS

// programs are those that were built for this run, all in one directory.
type programs struct {
	dir     string
	upkeep  string // and its links beside it
	service string // what is supervised
	bare    string // the floor; empty without a C compiler
	notes   []string
}

// build makes the programs in dir. given is an upkeep to measure in place of the
// one that the source gives.
func build(ctx context.Context, dir, given string) (p programs, err error) {
	raw, err := os.MkdirTemp(dir, "raw")
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(raw)

	upkeep := given
	if upkeep == "" {
		upkeep = filepath.Join(raw, "upkeep")
		if err := shipped.Build(ctx, upkeep); err != nil {
			return p, err
		}
	}
	p.dir = filepath.Join(dir, "bin")
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return p, err
	}
	if p.upkeep, err = install(upkeep, p.dir, "upkeep"); err != nil {
		return p, err
	}
	if err := exec.CommandContext(ctx, p.upkeep, "--link", p.dir).Run(); err != nil {
		return p, fmt.Errorf("upkeep --link: %w", err)
	}
	if st, err := os.Stat(p.upkeep); err == nil {
		p.notes = append(p.notes, fmt.Sprintf("upkeep: %s, %d KiB", origin(given), st.Size()>>10))
	}

	service := filepath.Join(raw, "tinysvc")
	if err := compile(ctx, raw, "tinysvc", service); err != nil {
		p.notes = append(p.notes, "the service and the floor could not be compiled ("+err.Error()+
			"): the service is this benchmark, a Go program, and drowns what it should show; there is no floor")
		if service, err = os.Executable(); err != nil {
			return p, err
		}
	} else {
		bare := filepath.Join(raw, "bare")
		if err := compile(ctx, raw, "bare", bare); err != nil {
			return p, err
		}
		if p.bare, err = install(bare, p.dir, "bare"); err != nil {
			return p, err
		}
	}
	if p.service, err = install(service, p.dir, "tinysvc"); err != nil {
		return p, err
	}

	// Pages of a program that are not on disk yet would count as private dirty
	// memory of a single process that runs it.
	unix.Sync()
	if fileSystem(p.dir) == onTmpfs {
		p.notes = append(p.notes, "the programs are on tmpfs: all their pages count as dirty; set TMPDIR to a directory on disk")
	}
	return p, nil
}

func origin(given string) string {
	if given != "" {
		return given
	}
	return "built from this source"
}

// compile makes a static program of a C source of ours.
func compile(ctx context.Context, dir, name, to string) error {
	text, err := sources.ReadFile("helpers/" + name + ".c")
	if err != nil {
		return err
	}
	source := filepath.Join(dir, name+".c")
	if err := os.WriteFile(source, text, 0o644); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "cc", "-O2", "-static", "-s", "-o", to, source).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// install puts a copy of a program into dir, under name.
func install(program, dir, name string) (path string, err error) {
	from, err := os.Open(program)
	if err != nil {
		return "", err
	}
	defer from.Close()
	path = filepath.Join(dir, name)
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if e := to.Close(); err == nil {
		err = e
	}
	return path, err
}

// packages are the versions of the peers, where dpkg knows them.
func packages(names ...string) (list []string) {
	for _, name := range names {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${Package} ${Version}", name).Output()
		if err == nil {
			list = append(list, string(out))
		}
	}
	return list
}
