// Package node shows entries to the kernel, by go-fuse. It is the one place where anything
// becomes an inode.
//
// # Nouns
//
// An Entry is one thing in a tree: a Directory, a File or a Symlink. Entries know what they
// show, and nothing of the kernel. A Kernel is the kernel that the entries of one tree are
// shown to. A node (dirNode, fileNode, linkNode) is an Entry as the kernel has it: an inode.
// A Content is an open file. A Child is an Entry under its name.
//
// An Entry that programs change says so by more methods: a directory that is Writable, a
// file that is WritableFile, and anything that is Changeable. All other entries answer a
// change with EROFS, here and for everybody: a mount that can be written to goes without the
// kernel's checks of permissions, by which root would be let through and others be told
// something else.
//
// # Identities
//
// An Identity is an inode number and a generation: 126 bits of a SHA-256 of the path and the
// digest. go-fuse shows entries of one type and one identity as one node, which goes on with
// the Entry that came first. Two entries have one identity only where the node of one may
// answer for the other, and no registry can choose names that give two entries one.
//
// # How files are read
//
// A file is read in one of three modes. The mode is one per inode for as long as it is open
// anywhere; see fileNode. Pages stay in the kernel's cache from one open to the next where
// they are of the same bytes; see Way.Pages.
//
// # What the kernel holds
//
// Each name that was looked up is a node until the kernel forgets it, and the kernel forgets
// only when memory is short. From Linux 6.18 on a file system can ask it to; see pruner. So
// the number of nodes is bounded by Options.MaxNodes, but for those that are in use.
//
// # Waiting
//
// The kernel holds every other lookup of a name behind the first, and nothing can kill those,
// so each lookup, and each open for reading, is bounded by Options.LookupBound. A listing isn't:
// whoever waits for it can be interrupted. Notifications to the kernel
// may wait for a directory that a lookup has locked, so they are sent by goroutines of their
// own, which hold no lock.
//
// # Errors
//
// An errno is all that a program sees of an error. Options.Verdicts decides it, and the cause
// and a hint what to do go to the log and to Failures, which .ocifs/errors.jsonl shows. A
// panic in a request is EIO, is counted, and leaves its stack in the log.
package node
