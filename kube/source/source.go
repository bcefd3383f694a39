package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"

	"github.com/wazlet/wazlet/kube/source/strictyaml"
)

const (
	// DefaultScan is how often the directory is read when nothing tells of a change; the kubelet's.
	DefaultScan = 20 * time.Second
	// DefaultSettle is how long after the first sign of a change the directory is read, so that a burst is one change.
	DefaultSettle = 100 * time.Millisecond
	// MaxFileBytes bounds a manifest. The API server takes no larger ones either.
	MaxFileBytes = 1 << 20
	// MaxFiles bounds the manifests of a directory.
	MaxFiles = 20_000
	// MaxProblems bounds what is told of one manifest: a megabyte of nonsense has a hundred thousand.
	MaxProblems = 25
)

// Options are what a Source needs to know.
type Options struct {
	// Dir is the directory to watch. It need not exist yet.
	Dir string
	// NodeName is the name of this node, a valid DNS subdomain.
	NodeName string
	// Clock is nil for the real one.
	Clock clock.WithDelayedExecution
	// Scan and Settle are DefaultScan and DefaultSettle when zero.
	Scan, Settle time.Duration
	// Known are the Pods of an earlier run that are still there. One whose manifest has become bad meanwhile stays wanted,
	// as it would have without the interruption.
	Known []*corev1.Pod
	// OnPods is told the complete list of wanted Pods, sorted by file name: once after the first look at the directory, be
	// it empty or missing, and then after every change. A directory that cannot be read says nothing of its Pods. It is called by Run and
	// holds Run up while it works. The Pods are shared and must not be modified: there may be ten thousand of them.
	OnPods func([]*corev1.Pod)
	// OnProblem is told every problem once, and again only after it was gone. May be nil. It is called by Run.
	OnProblem func(Problem)
}

// Problem is something wrong with a manifest, or with the directory.
type Problem struct {
	// File is a path; Line counts from 1, 0 when it is not known; Field is empty for the file as a whole.
	File    string
	Line    int
	Field   string
	Message string
}

// Error returns "FILE:LINE: FIELD: MESSAGE" without the parts that are not known.
func (p Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where += ":" + strconv.Itoa(p.Line)
	}
	return where + ": " + strictyaml.Problem{Field: p.Field, Message: p.Message}.Text()
}

// Source reads static Pods from a directory. Make it with New and call Run once.
type Source struct {
	o Options
	// files is what is known of each file, by path. Only Run touches it.
	files map[string]*manifest
	// told are the problems that OnProblem knows, sent the UIDs that OnPods knows; nil before the first time.
	told map[Problem]bool
	sent []string
	// conflicts are the problems that choose found last.
	conflicts []Problem
}

// manifest is what is known of one file.
type manifest struct {
	// stamp tells whether the file is still the one that was read; zero when only its content can tell.
	stamp stamp
	sum   [sha256.Size]byte // of the content that was decoded last; zero when it could not be read
	// decoded is the Pod of the content, nil when there are problems; accepted is the last Pod that was wanted.
	decoded, accepted *corev1.Pod
	problems          []Problem
	// gone is set when the file is not there after all.
	gone bool
}

// New returns a Source that Run starts.
func New(o Options) *Source {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	o.Scan = cmp.Or(o.Scan, DefaultScan)
	o.Settle = cmp.Or(o.Settle, DefaultSettle)
	if o.OnProblem == nil {
		o.OnProblem = func(Problem) {}
	}
	s := &Source{o: o, files: map[string]*manifest{}, told: map[Problem]bool{}}
	for _, p := range o.Known {
		if file := p.Annotations[FileAnnotation]; file != "" {
			s.files[file] = &manifest{accepted: p.DeepCopy()}
		}
	}
	return s
}

// Run watches the directory until ctx is done, and then returns nil. Where the kernel cannot tell of changes, the
// periodic look at the directory has to do; that is reported as a problem.
func (s *Source) Run(ctx context.Context) error {
	watcher, err := fsnotify.NewWatcher()
	var changes chan fsnotify.Event
	var failures chan error
	if err == nil {
		defer watcher.Close() //nolint:errcheck // nothing was written
		changes, failures = watcher.Events, watcher.Errors
	}
	for {
		problems := s.watch(watcher, err)
		s.look(problems)
		if !s.wait(ctx, changes, failures) {
			return nil
		}
	}
}

// watch (re)establishes the watch of the directory, or of its parent while it does not exist.
func (s *Source) watch(w *fsnotify.Watcher, err error) []Problem {
	if err == nil {
		if err = w.Add(s.o.Dir); errors.Is(err, fs.ErrNotExist) {
			err = w.Add(filepath.Dir(s.o.Dir))
		}
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // what cannot be opened is reported by the one who reads it
	}
	return []Problem{{
		File:    s.o.Dir,
		Message: fmt.Sprintf("changes are only found every %v: watching fails: %v", s.o.Scan, err),
	}}
}

// wait returns when it is time for another look, or false when ctx is done.
func (s *Source) wait(ctx context.Context, changes <-chan fsnotify.Event, failures <-chan error) bool {
	timer := s.o.Clock.NewTimer(s.o.Scan)
	defer timer.Stop()
	settling := false
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			return true
		case <-changes:
		case <-failures: //nolint:errcheck // whatever was lost, another look finds it
		}
		if !settling {
			settling = true
			timer.Stop()
			timer = s.o.Clock.NewTimer(s.o.Settle)
		}
	}
}

// look reads the directory and reports what is new.
func (s *Source) look(problems []Problem) {
	paths, err := s.list()
	changed := s.sent == nil
	switch {
	case errors.Is(err, fs.ErrNotExist):
		changed = changed || len(s.files) > 0
		s.files = map[string]*manifest{}
		problems = append(problems, Problem{File: s.o.Dir, Message: "the directory does not exist; it is used once it does"})
	case err != nil:
		// Nothing is known of the files, so nothing changes for their Pods.
		s.report(append(problems, Problem{File: s.o.Dir, Message: "read directory: " + err.Error()}))
		return
	}
	if len(paths) > MaxFiles {
		problems = append(problems, Problem{
			File:    paths[MaxFiles],
			Message: fmt.Sprintf("this file and those after it are ignored: a directory may hold %d manifests (got %d)", MaxFiles, len(paths)),
		})
		paths = paths[:MaxFiles]
	}
	if !s.load(paths) && !changed {
		s.report(append(problems, s.conflicts...))
		return
	}
	var pods []*corev1.Pod
	pods, s.conflicts = s.choose(paths)
	s.report(append(problems, s.conflicts...))
	s.send(pods)
}

// list returns the paths of the manifests, sorted.
func (s *Source) list() ([]string, error) {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		path := filepath.Join(s.o.Dir, e.Name())
		if ignored(e.Name()) || isDir(path, e) {
			continue
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func isDir(path string, e fs.DirEntry) bool {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.IsDir()
	}
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// ignored tells whether a file is hidden, or a temporary or backup file of an editor.
func ignored(name string) bool {
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "#") || strings.HasSuffix(name, "~") {
		return true
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".swp", ".swo", ".swx", ".tmp", ".temp", ".bak", ".orig", ".part":
		return true
	}
	return false
}

// load brings s.files up to date with the files at paths, and tells whether anything changed.
func (s *Source) load(paths []string) (changed bool) {
	known := s.files
	s.files = make(map[string]*manifest, len(paths))
	for _, path := range paths {
		m := known[path]
		if m == nil {
			m = &manifest{}
		}
		s.files[path] = m
		if m.stamp != (stamp{}) && m.stamp == stampOf(path) || !s.read(path, m) {
			continue
		}
		changed = true
		if m.gone {
			delete(s.files, path)
		}
	}
	return changed || len(s.files) != len(known)
}

// settled is how old a change of a file must be before the file's times can tell it from the next one.
const settled = 2 * time.Second

// stamp is what tells one version of a file from another without a look inside: ten thousand manifests are not read again
// every few seconds for nothing.
type stamp struct {
	inode    uint64
	size     int64
	modified int64 // nanoseconds
	mode     fs.FileMode
}

func newStamp(i fs.FileInfo) stamp {
	st, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{inode: st.Ino, size: i.Size(), modified: i.ModTime().UnixNano(), mode: i.Mode()}
}

func stampOf(path string) stamp {
	i, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return newStamp(i)
}

// read reads a manifest, and tells whether it says something else than before.
func (s *Source) read(path string, m *manifest) (changed bool) {
	data, stat, err := readManifest(path)
	if errors.Is(err, fs.ErrNotExist) && isGone(path) {
		m.gone = true // removed since the directory was read
		return true
	}
	if err != nil {
		*m = manifest{accepted: m.accepted, problems: []Problem{{File: path, Message: err.Error()}}}
		return true
	}
	m.stamp = stamp{}
	if s.o.Clock.Since(stat.ModTime()) >= settled {
		m.stamp = newStamp(stat)
	}
	sum := sha256.Sum256(data)
	if m.sum == sum {
		return false
	}
	pod, problems := Decode(path, data, s.o.NodeName)
	*m = manifest{stamp: m.stamp, sum: sum, decoded: pod, accepted: m.accepted, problems: first(path, problems)}
	return true
}

// first returns the first MaxProblems, and how many more there are.
func first(path string, problems []Problem) []Problem {
	n := len(problems) - MaxProblems
	if n <= 0 {
		return problems
	}
	return append(problems[:MaxProblems:MaxProblems], Problem{File: path, Message: fmt.Sprintf("has %d more problems", n)})
}

// isGone tells a removed file from a dangling link.
func isGone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// readManifest reads a regular file of bounded size. Opening does not block, which a named pipe would do.
func readManifest(path string) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open manifest: %w", reason(err))
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("open manifest: %w", reason(err))
	}
	if !st.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("must be a regular file (got %v)", st.Mode().Type())
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read manifest: %w", reason(err))
	}
	if len(data) > MaxFileBytes {
		return nil, nil, fmt.Errorf("must be at most %d bytes (got %d)", MaxFileBytes, max(st.Size(), int64(len(data))))
	}
	return data, st, nil
}

// reason is err without the path, which the Problem tells already.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// choose decides which Pods are wanted. paths are sorted.
func (s *Source) choose(paths []string) ([]*corev1.Pod, []Problem) {
	var pods []*corev1.Pod
	var problems []Problem
	owner := map[string]string{}
	for _, path := range paths {
		m := s.files[path]
		if m == nil {
			continue
		}
		problems = append(problems, m.problems...)
		if m.decoded != nil {
			if first, taken := owner[key(m.decoded)]; taken {
				problems = append(problems, Problem{
					File: path, Field: "metadata.name",
					Message: fmt.Sprintf("is already the name of the Pod in %s (got %q in namespace %q)",
						filepath.Base(first), m.decoded.Annotations[NameAnnotation], m.decoded.Namespace),
				})
			} else {
				s.accept(path, m)
			}
		}
		if m.accepted == nil {
			continue
		}
		if _, taken := owner[key(m.accepted)]; taken {
			m.accepted = nil
			continue
		}
		owner[key(m.accepted)] = path
		pods = append(pods, m.accepted)
	}
	return pods, problems
}

// accept makes the decoded Pod the wanted one. The same Pod keeps the time at which it was first seen.
func (s *Source) accept(path string, m *manifest) {
	if m.accepted != nil && m.accepted.UID == m.decoded.UID {
		m.decoded = m.accepted // one copy is enough
		return
	}
	m.accepted = m.decoded
	m.accepted.Annotations[SeenAnnotation] = s.o.Clock.Now().UTC().Format(time.RFC3339Nano)
	m.accepted.Annotations[FileAnnotation] = path
}

func key(p *corev1.Pod) string { return p.Namespace + "/" + p.Name }

// report tells OnProblem what it does not know yet.
func (s *Source) report(problems []Problem) {
	now := make(map[Problem]bool, len(problems))
	for _, p := range problems {
		if !now[p] && !s.told[p] {
			s.o.OnProblem(p)
		}
		now[p] = true
	}
	s.told = now
}

// send tells OnPods the wanted Pods if they are not those that it knows.
func (s *Source) send(pods []*corev1.Pod) {
	uids := make([]string, 0, len(pods))
	for _, p := range pods {
		uids = append(uids, string(p.UID))
	}
	slices.Sort(uids)
	if s.sent != nil && slices.Equal(uids, s.sent) {
		return
	}
	s.sent = uids
	s.o.OnPods(pods)
}
