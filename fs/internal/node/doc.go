// Package node shows entries to the kernel, with go-fuse. Only this package makes inodes.
//
// # Nouns
//
// An Entry is a Directory, a File or a Symlink in a tree. Entries know what they show, and
// nothing of the kernel. A Kernel is the kernel to which the entries of one tree are shown. A
// node (dirNode, fileNode, linkNode) is the inode of an Entry. A Content is an open file. A Child
// is an Entry and its name.
//
// An Entry that programs can change has more methods: a directory is Writable, a file is a
// WritableFile, and any such Entry is Changeable. All other entries answer EROFS to a change,
// from everybody. They do that here, because a writable mount goes without the permission checks
// of the kernel. Those checks would let root through, and give others a different errno.
//
// # Identities
//
// An Identity is an inode number and a generation: 126 bits of a SHA-256 of the path and the
// digest. go-fuse shows entries with the same type and the same identity as one node, which keeps
// the Entry that came first. Two entries have the same identity only if the node of one may
// answer for the other. No registry can choose names that give two entries the same identity.
//
// # How files are read
//
// A file is read in one of three modes. An inode has one mode as long as it is open anywhere; see
// fileNode. Pages stay in the kernel's cache from one open to the next if they are of the same
// bytes; see Way.Pages.
//
// Bytes of a cached blob that are in memory go to the kernel without a copy; see View.
//
// # How directories are listed
//
// A listing is made when its directory is opened, and is given in replies of some hundred entries
// each. While a program works on one reply, the next one is made, without being asked for; see
// listFS. A reply that is made ahead may never be sent, and its nodes are forgotten then. Outdate
// drops it before the kernel is told that something changed.
//
// # What the kernel holds
//
// Each name that was looked up has a node until the kernel forgets it. By itself, the kernel
// forgets nodes only when memory is short. Since Linux 6.18, a file system can ask it to forget
// them; see pruner. So Options.MaxNodes limits the number of nodes, except those that are in use.
//
// # Waiting
//
// The kernel makes other lookups of a name wait for the first one, and nothing can kill those. So
// Options.LookupBound limits each lookup, and each open for reading. A listing has no limit,
// because its caller can be interrupted. Notifications to the kernel may wait for a directory
// that a lookup has locked. So goroutines of their own send them, and hold no lock.
//
// # Errors
//
// A program sees only the errno of an error. Options.Verdicts decides it. The cause, and a hint
// what to do, go to the log and to Failures, which .ocifs/errors.jsonl shows. A panic in a
// request is counted and answered with EIO, and its stack goes to the log.
package node
