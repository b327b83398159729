// Package cache keeps content on disk by its digest: complete and verified, or
// not there.
//
// # Nouns
//
// A Store is a cache directory. A Want is a blob that someone needs, and how to
// fetch it. A File is an open blob. A Stream is one that is read while it comes. A
// View is bytes of a File that the system has in memory. A window is a mapped MiB of a File, of which
// views are parts. A Pointer is what a name was last seen to point at. A making is the work by which a blob is made
// from another one, on this machine, as a layer is unpacked. An Index is a small file that is kept
// for a blob and says what is in it.
//
// A sentinel is the file by which a process says that it has the directory open. An unclean
// end is that of a process that left its sentinel: it was killed, or the machine lost its
// power. A blob is in doubt if an unclean end may have left its file damaged. A check is the
// hashing of a cached blob. A damaged file is set aside: moved to the quarantine, for a look. A
// file is shunned if it is damaged and can't be moved. Trouble is what keeps the directory
// from being written. A crash point is a step in the code where a test dies.
//
// # What can be relied on
//
// A blob gets its name in the store by one rename, after all its bytes matched digest
// and size, and were synced. It can be opened before that, as soon as it has matched: the bytes
// are read from the file that is going to be renamed. Other processes find a small blob that was
// put or adopted then, and hash it. A sync takes as long as the bytes of all large blobs that came
// lately, on a slow disk. Close waits for all syncs, and Adopt waits while maxLater blobs have
// theirs ahead of it; nobody else does. Close names what was put or adopted before its sync: the
// sentinel puts the blob in doubt, should the process end before. A crash at any
// moment leaves a complete blob or a partial file. The directory isn't synced: a rename
// that a power cut takes back is only a miss. So is what was put or adopted, if a crash comes before
// its sync.
//
// A blob comes by one fetch, or, where one connection holds a large one up, in parts by
// several, into one partial file. It is hashed beside that, behind the first byte that
// hasn't come; where many blobs come at once, each fetch hashes the bytes that it has just written. What
// is missing is where the file has holes, so that nobody has to keep a
// record: whoever wants the blob after a crash fetches what is missing and hashes all of
// it. If the whole doesn't match then, it is fetched once more from the start, by one
// connection, as the fault may be the part that was left, or how it was put together.
//
// There is one download per digest, however many wait for it, in however many
// processes: the one that holds the lock on the partial file downloads, the
// others wait and look again. A download runs under a context of its own. It
// lives for as long as anyone waits, and then for Options.Grace; one who stops
// waiting leaves at once. Through the grace a download goes on, as who was interrupted
// often comes again; but that of a stream, whose reader may never want the rest, holds
// still: nothing is read from the wire, and the next reader wakes it.
//
// A making is like a download: there is one for each blob that is made from, in all processes, and
// what it makes is hashed beside the writing, and becomes a blob by the same steps. The digest of
// what is made isn't known before: the caller is told it, and can refuse it, before anyone is given
// the blob. What is left of a making that failed, or was killed, is of no use, and is removed. The
// next one starts over, in a file of its own.
//
// An index is kept by the digest of the blob that it is of, and gets its name by one rename. A checksum
// stands behind its bytes, and all of it is hashed when it is opened: one that is damaged, or that a
// power cut left without its bytes, is none. No eviction of blobs takes an index: it outlives the blob.
//
// Where locks keep nobody out (NFS without a lock daemon, Lustre without -o flock) each
// download writes a private partial file, in each process, and nothing is gone on with
// after a crash. The log says so at Open, and Stats.NoLocks does.
//
// A blob's name goes to the very file whose bytes were verified: that file has a name that
// nobody else looks for before, and that is looked at (makePrivate). What was removed
// under its download is served while it is open.
//
// The store is bounded in bytes of the disk, in whole blocks: a small blob takes one. All files
// of its directory count, but staging, and a block or so for each process that has it open.
// The bound is the directory's, and kept there. Pointers, indexes, and damaged blobs that were set
// aside, take an eighth of it each at most: the pointers that weren't remembered for longest go, the
// indexes that weren't opened for longest, and all that was set aside. Room is made before a download where its size
// is known, and for a making, by and by where its size isn't known, by unlinking what wasn't used for longest, down to a low watermark,
// so that it isn't done for each file. Files that this process has open are
// never unlinked, and no file is ever truncated: a reader, or a kernel that reads
// past us, goes on undisturbed. What another process unlinks meanwhile counts until
// it is closed. A blob larger than the whole bound is served while it is open and then
// kept nowhere. Recency stands in a file's mtime, set at most once a minute.
// A blob that was demoted goes before all others: a packed layer, once the unpacked one is there. Its
// file is executable.
//
// A blob is looked at again where there is reason to. Its size is, at every open: if it is
// another than was asked for, one check tells whether the file is damaged or the want is wrong.
// After an unclean end each blob that was written or used since a minute before that process
// began is in doubt: it is checked before its first byte is read, whatever its size. One check
// serves all who wait for it, each of them may leave, and the next one goes on where it
// stopped. Open doesn't wait for more than some milliseconds; Get and Stream do. What nobody
// asks for is checked in the background, and then the sentinel is removed: a read of the disk,
// once. Processes that open the directory meanwhile have the same blobs in doubt.
//
// A file that the disk can't read is damaged. The read that meets it is ErrUnreadable, and the next Get
// fetches the blob again. A kernel that reads past us (FUSE passthrough, mmap) tells nobody of
// its read errors, and no system call asks for them: mincore and cachestat don't tell a page
// that failed from one that isn't cached, errseq_t is for writes alone, and a probe of one page
// says nothing of the others. Then the program gets EIO at each open, until something else reads
// the blob: a check, 'ocifs cache verify', or a reader that doesn't pass through. Store.Reads
// says when that is the case, so that reads needn't pass through any more.
//
// A reader of this process is handed a View where the pages are in memory, and the system copies from
// there to the program: a buffer between would cost a copy more. Only what the system has in memory
// is mapped, and is asked for again at each view. So ReadAt meets the errors of the disk. A store has
// 16 windows at most, one for each file that was read lately. A window goes with its file, after the
// last of its views.
//
// A damaged blob is fetched again by whoever wants it; a disk that damages a blob again and
// again isn't given it any more for a while.
//
// The disk is the truth, the index in memory a hint: several processes share a
// directory, each finds what the others added, the sooner the more comes, and takes
// what they evicted for a miss. A new Store serves at once and reads the directory behind.
//
// Where the directory can't be written any more, blobs are served from unnamed
// temporary files. They are on the cache's own disk where that can be written, and else in
// $TMPDIR, /var/tmp, or /tmp; never in memory, but for a $TMPDIR that somebody set. The log
// says when that begins, when it is over and when it comes again, once a minute at most, and
// Stats has it while it lasts.
//
// # Locks
//
// A lock is taken before those that stand behind it: Store.scanning, which a scan holds while it
// reads the directory; Store.evicting, which an eviction holds while it unlinks files;
// Store.naming, one for each directory of pointers, under which one of them is written or removed;
// Store.indexing, under which indexes are counted; Store.mu, for downloads, makings, what is kept later and the references of open files; ledger.mu, for what the store takes
// of the disk. Nothing asks the disk under the last two. Who waits in enterLater holds none of
// them. Stream.mu stands before Store.mu, and nothing
// is waited for under it; the locks of cache/internal/ingest stand behind Store.mu. The lock of
// a partial file is only tried, and so has no place in the order. checker.mu, for checks and
// what is in doubt, trouble.mu and windows.mu are leaves.
//
// # Layout
//
//	DIR/CACHEDIR.TAG              tells backups to leave it out
//	DIR/v1/blobs/<algo>/<hh>/<hex>     the blob's own bytes, nothing else
//	DIR/v1/partial/<algo>-<hex>        a download under way, locked; or what is left of one
//	DIR/v1/partial/<algo>-<hex>.made   a making under way, of the blob with that digest, locked
//	DIR/v1/partial/<algo>-<hex>.*      a private one: beside another's, or of what was put or adopted
//	DIR/v1/partial/tmp-blob-*          one where locks can't be had
//	DIR/v1/partial/tmp-later-*         the second name of a small one that is whole, and only waits for its place
//	DIR/v1/partial/tmp-*               what has one writer, and gets another name when it is whole
//	DIR/v1/pointers/<hh>/<hex>         a Pointer, by the sha256 of its key
//	DIR/v1/indexes/<algo>/<hh>/<hex>   the index of that blob, and its checksum
//	DIR/v1/bound                  the bound, in bytes; the default where it isn't there
//	DIR/v1/alive/<pid>-<random>        a sentinel; locked while its process has the cache open
//	DIR/v1/alive/<pid>-<random>.dead   one of an unclean end; locked while a process works it off
//	DIR/v1/quarantine/                 damaged files that were set aside
//	DIR/v1/staging/                    not the store's: what is going to be adopted
//
// A directory that has another version, or that holds anything else, is refused
// and left as it is; but for what the system keeps at the root of a disk, as lost+found.
package cache
