package conf2dir

import "strings"

// DependError says that a file that a job depends on cannot be read.
type DependError struct {
	Job, Path string // as written
	Err       error  // a *FileError
}

// Error is pmtr's second line on it; Err is the first.
func (e *DependError) Error() string { return "job " + e.Job + ": can't open dependency " + e.Path }

// Unwrap returns Err.
func (e *DependError) Unwrap() error { return e.Err }

// DependPaths are the paths of the files that the job depends on, relative ones below
// dir, and that below start, the directory in which pmtr is started.
func (j *Job) DependPaths(start string) []string {
	paths := make([]string, len(j.Depends))
	for i, p := range j.Depends {
		paths[i] = below(j.WorkDir(start), p)
	}
	return paths
}

// WorkDir is the working directory of the job.
func (j *Job) WorkDir(start string) string {
	if j.Dir == "" {
		return start
	}
	return below(start, j.Dir)
}

func below(dir, path string) string {
	if strings.HasPrefix(path, "/") || dir == "" {
		return path
	}
	return strings.TrimSuffix(dir, "/") + "/" + path
}

// Fingerprint tells whether what the job depends on has changed: it is the digest of
// the paths and contents of these files, and "" if all are empty, or there are none.
// A file that cannot be read is a *DependError; pmtr takes the job for disabled then.
func (j *Job) Fingerprint(start string) (string, error) {
	var b []byte
	for i, path := range j.DependPaths(start) {
		text, err := ReadFile(path)
		if err != nil {
			return "", &DependError{j.Name, j.Depends[i], err}
		}
		if text != "" {
			b = append(append(b, path...), 0)
			b = append(append(b, Digest(text)...), 0)
		}
	}
	if len(b) == 0 {
		return "", nil
	}
	return Digest(string(b)), nil
}
