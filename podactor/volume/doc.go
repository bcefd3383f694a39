// Package volume turns the volumes of a Pod into directories and files of the host, and a container's volumeMounts into
// mounts of its bundle.
//
//	emptyDir   a directory of the Pod, <root>/pods/<uid>/.volumes/<name>, mode 0777, which lives as long as the Pod.
//	           Medium Memory is the same plain directory: nothing here is ever mounted, so it is on disk. sizeLimit is not
//	           enforced.
//	hostPath   the path itself, checked as its type demands. Sockets and devices are refused: a guest of WASI could not
//	           open them.
//
//	configMap  a directory whose files the node makes, of an object of the cluster; likewise secret, downwardAPI (fields of
//	           the Pod) and projected (several of these, and tokens of the Pod's ServiceAccount). The files are replaced all
//	           at once when their source changes (atomic.go). Guests can only read them.
//
// Everything else is an error that names the kind. All functions block on the file system.
//
// What lies in a volume is made by guests, which are not trusted: no path below a volume is followed out of it. A symlink
// that a guest swaps in after its container's mounts were resolved is the shim's to refuse.
package volume
