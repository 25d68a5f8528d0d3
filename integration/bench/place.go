package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Places where a tree may be.
const (
	onDisk  = "disk"
	onTmpfs = "tmpfs"
)

// place makes directories for trees, each fresh, so that none suffers from what
// was done in the one before. On ext4 it would: inodes that were freed lately
// are passed over by the next who creates a file, for minutes.
type place struct {
	name string
	note string // what it is, for the report
	dir  string
	// volumes: each directory is a file system of its own. Otherwise it is a
	// plain one, and unless scratch is set it stays until the benchmark ends.
	volumes bool
	scratch bool
	made    int
}

// tool finds a program that may be where only root looks.
func tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// disk is the place in a directory on disk, with volumes if they can be had.
func disk(dir string) *place {
	p := &place{name: onDisk, dir: dir, volumes: true}
	fresh, remove, err := p.fresh()
	if err == nil {
		p.note = "a new ext4 image on a loop device for every tree, below " + filepath.Dir(dir) + " (" + fileSystem(dir) + ")"
		if err = remove(); err == nil {
			return p
		}
		p.note = "unable to unmount " + fresh
	}
	p.volumes = false
	p.note = fmt.Sprintf("plain directories below %s (%s), removed at the very end, since no image could be mounted: %v",
		filepath.Dir(dir), fileSystem(dir), err)
	return p
}

// plain is the same place without volumes of its own.
func (p *place) plain() *place {
	return &place{name: p.name, note: p.note, dir: filepath.Join(p.dir, "plain")}
}

// fresh makes a directory that was never used. remove must be called when no
// process is in it any more.
func (p *place) fresh() (dir string, remove func() error, err error) {
	p.made++
	dir = filepath.Join(p.dir, fmt.Sprintf("%s-%d", p.name, p.made))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	switch {
	case p.volumes:
		err = mountImage(dir+".ext4", dir)
		remove = func() error { return unmountImage(dir+".ext4", dir) }
	case p.scratch:
		remove = func() error { return os.RemoveAll(dir) }
	default:
		remove = func() error { return nil }
	}
	return dir, remove, err
}

const imageSize = 256 << 20

// mountImage makes an ext4 file system in a sparse file. Its inode tables are
// written now, not by a kernel thread while something is measured.
func mountImage(image, dir string) error {
	f, err := os.Create(image)
	if err != nil {
		return err
	}
	err = errors.Join(f.Truncate(imageSize), f.Close())
	if err == nil {
		err = command("mkfs.ext4", "-q", "-F", "-N", "32768", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
	}
	if err == nil {
		err = command("mount", "-t", "ext4", "-o", "loop", image, dir)
	}
	if err != nil {
		os.Remove(image)
	}
	return err
}

// unmountImage frees the loop device with the mount, and removes the image.
func unmountImage(image, dir string) error {
	err := unix.Unmount(dir, 0)
	// A process that has just been reaped may still hold its directory.
	for tries := 0; err == unix.EBUSY && tries < 100; tries++ {
		time.Sleep(20 * time.Millisecond)
		err = unix.Unmount(dir, 0)
	}
	if err != nil {
		return fmt.Errorf("unable to unmount %s: %w", dir, err)
	}
	return errors.Join(os.Remove(image), os.Remove(dir))
}

// command runs a tool of the system; its complaint is the error.
func command(name string, args ...string) error {
	path, err := tool(name)
	if err != nil {
		return err
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// settleDisk waits until what was written so far is on disk, so that the journal
// has nothing old to do while something is measured.
func settleDisk(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// fileSystem names the type of the file system at path.
func fileSystem(path string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return "unknown"
	}
	switch int64(fs.Type) & 0xffffffff {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	}
	return fmt.Sprintf("type %#x", fs.Type)
}
