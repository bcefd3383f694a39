package wasi

// Rights are what may be done with a descriptor.
type Rights uint64

// The rights, in the order of WASI's bits.
const (
	rightDatasync Rights = 1 << iota
	rightRead
	rightSeek
	rightSetFlags
	rightSync
	rightTell
	rightWrite
	rightAdvise
	rightAllocate
	rightPathCreateDirectory
	rightPathCreateFile
	rightPathLinkSource
	rightPathLinkTarget
	rightPathOpen
	rightReaddir
	rightPathReadlink
	rightPathRenameSource
	rightPathRenameTarget
	rightPathFilestatGet
	rightPathFilestatSetSize
	rightPathFilestatSetTimes
	rightFilestatGet
	rightFilestatSetSize
	rightFilestatSetTimes
	rightPathSymlink
	rightPathRemoveDirectory
	rightPathUnlinkFile
	rightPoll
	rightSockShutdown
	rightSockAccept
)

// What each kind of descriptor can do at most.
const (
	fileRights = rightDatasync | rightRead | rightSeek | rightSetFlags | rightSync | rightTell | rightWrite | rightAdvise |
		rightAllocate | rightFilestatGet | rightFilestatSetSize | rightFilestatSetTimes | rightPoll
	dirRights = rightDatasync | rightSetFlags | rightSync | rightAdvise | rightPathCreateDirectory | rightPathCreateFile |
		rightPathLinkSource | rightPathLinkTarget | rightPathOpen | rightReaddir | rightPathReadlink | rightPathRenameSource |
		rightPathRenameTarget | rightPathFilestatGet | rightPathFilestatSetSize | rightPathFilestatSetTimes |
		rightFilestatGet | rightFilestatSetTimes | rightPathSymlink | rightPathRemoveDirectory | rightPathUnlinkFile | rightPoll
	// A terminal is known to programs by its lack of the rights to seek and tell.
	streamRights   = rightRead | rightWrite | rightSetFlags | rightFilestatGet | rightPoll
	socketRights   = streamRights | rightSockShutdown
	listenerRights = rightSetFlags | rightFilestatGet | rightPoll | rightSockAccept
)

// The rights that need a file to be opened for writing and for reading.
const (
	writeRights = rightWrite | rightAllocate
	readRights  = rightRead | rightReaddir
)
