package server

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"syscall"
)

// serveNodeLogs serves files and directories below LogDir, and answers queries. The directory is opened for each request: it
// may be replaced.
func (h Handlers) serveNodeLogs(w http.ResponseWriter, r *http.Request) {
	root, err := os.OpenRoot(h.LogDir)
	if err != nil {
		http.Error(w, "the log directory cannot be opened", http.StatusInternalServerError)
		return
	}
	defer func() { _ = root.Close() }()
	if h.LogQuery && h.serveLogQuery(w, r, logFiles{root}) {
		return
	}
	http.StripPrefix("/logs", http.FileServerFS(logFiles{root})).ServeHTTP(w, r)
}

// logFiles are the regular files and directories below a root. Unlike in the kubelet, no symbolic link leads out of it:
// a Pod that may write there must not be able to publish the files of the node.
type logFiles struct{ root *os.Root }

// Open implements fs.FS.
func (l logFiles) Open(name string) (fs.File, error) {
	// Without O_NONBLOCK opening a pipe that nobody writes to would hang.
	f, err := l.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		// What is refused does not exist, so that nobody learns what there is outside.
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
