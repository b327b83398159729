// Package layers unpacks layers, and gives what is in them: the index of a layer, and its unpacked
// bytes. Layers keeps both in the cache. Package rootfs makes trees of them.
//
// # Nouns
//
// A Layer is a blob of a repository that is an archive: packed, as the registry has it, or
// unpacked. Its index says what is in it. Its diff ID is the digest of its unpacked bytes. An
// Image is the layers of one manifest. The diff IDs that its config has are kept as the index of
// the config.
//
// # One pass
//
// The packed blob is read while it is downloaded. It is hashed, unpacked, listed and stored, and the
// unpacked bytes are hashed, all at the same time. Nothing of it shows before both
// digests are known: the blob's must match what the manifest promises, and the diff ID what the
// config promises. A blob that no config names has only the first of the two.
//
// The unpacked bytes are a blob of the cache under their own digest, and the packed blob is the
// next to be evicted. The index outlives both, so that a listing needs neither. If the unpacked
// bytes are gone when somebody reads a file, the layer is unpacked once more.
//
// One unpacking serves everybody who needs the layer. Each of them leaves with its own context.
// An unpacking for which nothing comes for a minute fails those who wait for it.
//
// # What fails for good
//
// An archive that is malformed, too large, or none at all stays so, because its digest says what
// it is. That answer is kept in memory, and no byte is fetched for the next who asks. It counts once
// all of the blob has matched its digest. Before that, wrong bytes may be to blame, and the error is
// that of the download.
package layers
