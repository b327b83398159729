package crowd

// program is what one of many does again and again on a bad network. Its script is
// the program alone: it leaves what it got in $W, a directory that is new each time.
// Where it says by its exit code that all went well, right has to succeed as well.
//
// A reader finds an image directory $D of the tag $TAG and the digest $DIGEST, whose
// $COUNT blobs are $BLOBS, the manifest $MANIFEST among them, and $PARTS without it,
// config first, each by its hex; the file $BLOB of one of them, $HEX, of which $LEN
// bytes from $OFF have the digest $SUM; $NOISE, what the image has as a file; $TAGS
// and $NAMES, the tags and their directory; and $QUIET, a registry on a good network.
// A writer finds an image layout $L on the disk, with the tag $TAG, and the
// repository $OUT.
type program struct {
	name, script, right string
	writes              bool
	walks               bool // along absolute paths, again and again
}

// shellFunctions check what programs left.
const shellFunctions = `
sums() { # DIRECTORY HEX…: its files have these digests
	cd "$1" && shift && for h; do echo "$h  $h"; done | sha256sum -c --quiet --strict
}
whole() { # DIRECTORY: a layout that has all, and nothing else
	(sums "$1/blobs/sha256" $BLOBS) && [ "$(ls "$1/blobs/sha256" | wc -l)" = "$COUNT" ]
}
`

// programs are twenty, each of another kind.
var programs = []program{
	{name: "cat", script: `cat $BLOB >$W/blob`, right: `echo "$HEX  $W/blob" | sha256sum -c --quiet`},
	{name: "cp -r", script: `cp -r $D $W/copy`, right: `whole $W/copy`},
	{name: "rsync", walks: true, script: `rsync -a $D/ $W/copy`, right: `whole $W/copy`},
	{name: "tar", script: `tar c -C $D . >$W/tar`, right: `mkdir $W/x && tar x -C $W/x -f $W/tar && whole $W/x`},
	{name: "skopeo copy", walks: true, script: `skopeo --insecure-policy copy -q oci:$D:$TAG dir:$W/copy`, right: `echo "$MANIFEST  $W/copy/manifest.json" | sha256sum -c --quiet && (sums $W/copy $PARTS)`},
	{name: "skopeo inspect", walks: true, script: `skopeo --insecure-policy inspect --raw oci:$D:$TAG >$W/manifest`, right: `echo "$MANIFEST  $W/manifest" | sha256sum -c --quiet`},
	{name: "jq", script: `jq -r '.config.digest, .layers[].digest' $D/manifest.json >$W/digests`, right: `[ "$(sed s/sha256:// $W/digests)" = "$(printf '%s\n' $PARTS)" ]`},
	{name: "find", script: `ls -lR $D >$W/ls && find $D/blobs -type f >$W/found`, right: `[ "$(wc -l <$W/found)" = $COUNT ]`},
	{name: "ls", script: `ls $TAGS >$W/tags`, right: `[ "$(cat $W/tags)" = "$NAMES" ]`},
	{name: "dd", script: `dd if=$BLOB of=$W/part bs=64k iflag=skip_bytes,count_bytes skip=$OFF count=$LEN status=none`, right: `echo "$SUM  $W/part" | sha256sum -c --quiet`},
	{name: "mmap", script: `$PROBE mmap $BLOB >$W/said || { cat $W/said >&2; false; }`, right: `[ "$(cat $W/said)" = "ok $HEX" ]`},
	{name: "umoci", walks: true, script: `umoci unpack $ROOTLESS --image $D:$TAG $W/bundle`, right: `cmp $W/bundle/rootfs/noise $NOISE`},
	{name: "crane push", walks: true, script: `crane push --insecure $D $QUIET/copied/from:$TAG >$W/said`, right: `grep -q $DIGEST $W/said && crane validate --fast --insecure --remote $QUIET/copied/from:$TAG >/dev/null`},

	{name: "cp of a layout", writes: true, script: `cp -r $L $OUT/upload/$TAG`},
	{name: "skopeo", writes: true, script: `skopeo --insecure-policy copy -q --preserve-digests oci:$L:$TAG oci:$OUT/upload:$TAG`},
	{name: "oras", writes: true, script: `oras cp --from-oci-layout $L:$TAG --to-oci-layout $OUT/upload:$TAG >/dev/null`},
	{name: "regctl", writes: true, script: `regctl image copy ocidir://$L:$TAG ocidir://$OUT/upload:$TAG >/dev/null`},
	{name: "rsync of a layout", writes: true, script: `rsync -a $L/ $OUT/upload/$TAG`},
	{name: "tar of a layout", writes: true, script: `mkdir $OUT/upload/$TAG && tar c -C $L . | tar x -C $OUT/upload/$TAG`},
	{name: "cp of blobs", writes: true, script: `for b in $L/blobs/sha256/*; do case $b in */$MANIFEST) ;; *) cp $b $OUT/upload/blobs/;; esac || exit 1; done && cp $L/blobs/sha256/$MANIFEST $OUT/upload/manifests/$TAG`},
}
