package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// program is what one of many does again and again on a bad network. Its script is
// the program alone: it leaves what it got in $W, a directory that is new each time.
// Where it says by its exit code that all went well, right has to succeed as well.
//
// A reader finds an image directory $D of the tag $TAG and the digest $DIGEST, whose
// $COUNT blobs are $BLOBS, the manifest $MANIFEST among them, and $PARTS without it,
// config first, each by its hex; the file $BLOB of one of them, $HEX, of which $LEN
// bytes from $OFF have the digest $SUM; $TAGS and $NAMES, the tags and their
// directory; and $QUIET, a registry on a good network. A writer finds an image
// layout $L on the disk, with the tag $TAG, and the repository $OUT.
type program struct {
	name, script, right string
	writes              bool
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
	{name: "rsync", script: `rsync -a $D/ $W/copy`, right: `whole $W/copy`},
	{name: "tar", script: `tar c -C $D . >$W/tar`, right: `mkdir $W/x && tar x -C $W/x -f $W/tar && whole $W/x`},
	{name: "skopeo copy", script: `skopeo --insecure-policy copy -q oci:$D:$TAG dir:$W/copy`, right: `echo "$MANIFEST  $W/copy/manifest.json" | sha256sum -c --quiet && (sums $W/copy $PARTS)`},
	{name: "skopeo inspect", script: `skopeo --insecure-policy inspect --raw oci:$D:$TAG >$W/manifest`, right: `echo "$MANIFEST  $W/manifest" | sha256sum -c --quiet`},
	{name: "jq", script: `jq -r '.config.digest, .layers[].digest' $D/manifest.json >$W/digests`, right: `[ "$(sed s/sha256:// $W/digests)" = "$(printf '%s\n' $PARTS)" ]`},
	{name: "find", script: `ls -lR $D >$W/ls && find $D/blobs -type f >$W/found`, right: `[ "$(wc -l <$W/found)" = $COUNT ]`},
	{name: "ls", script: `ls $TAGS >$W/tags`, right: `[ "$(cat $W/tags)" = "$NAMES" ]`},
	{name: "dd", script: `dd if=$BLOB of=$W/part bs=64k iflag=skip_bytes,count_bytes skip=$OFF count=$LEN status=none`, right: `echo "$SUM  $W/part" | sha256sum -c --quiet`},
	{name: "mmap", script: `$PROBE mmap $BLOB >$W/said || { cat $W/said >&2; false; }`, right: `[ "$(cat $W/said)" = "ok $HEX" ]`},
	{name: "umoci", script: `umoci unpack $ROOTLESS --image $D:$TAG $W/bundle`, right: `cmp $W/bundle/rootfs/noise $KNOWN/$TAG`},
	{name: "crane push", script: `crane push --insecure $D $QUIET/copied/from:$TAG >$W/said`, right: `grep -q $DIGEST $W/said && crane validate --fast --insecure --remote $QUIET/copied/from:$TAG >/dev/null`},

	{name: "cp of a layout", writes: true, script: `cp -r $L $OUT/upload/$TAG`},
	{name: "skopeo", writes: true, script: `skopeo --insecure-policy copy -q --preserve-digests oci:$L:$TAG oci:$OUT/upload:$TAG`},
	{name: "oras", writes: true, script: `oras cp --from-oci-layout $L:$TAG --to-oci-layout $OUT/upload:$TAG >/dev/null`},
	{name: "regctl", writes: true, script: `regctl image copy ocidir://$L:$TAG ocidir://$OUT/upload:$TAG >/dev/null`},
	{name: "rsync of a layout", writes: true, script: `rsync -a $L/ $OUT/upload/$TAG`},
	{name: "tar of a layout", writes: true, script: `mkdir $OUT/upload/$TAG && tar c -C $L . | tar x -C $OUT/upload/$TAG`},
	{name: "cp of blobs", writes: true, script: `for b in $L/blobs/sha256/*; do case $b in */$MANIFEST) ;; *) cp $b $OUT/upload/blobs/;; esac || exit 1; done && cp $L/blobs/sha256/$MANIFEST $OUT/upload/manifests/$TAG`},
}

// crowd is what the programs work on.
type crowd struct {
	t      *testing.T
	m      *mounted
	s      *registries.Server // without the bad network
	host   string             // of the bad network, as it stands in the tree
	quiet  *registries.Server
	known  string // a directory with what the images have as a file, by tag
	images map[string]content.Manifest
	tags   []string
}

// newCrowd fills a registry with images, several times as much as what the mount's
// cache holds.
func newCrowd(t *testing.T, s *registries.Server) *crowd {
	c := &crowd{t: t, s: s, quiet: startOlareg(t, registries.Options{}), known: t.TempDir(), images: map[string]content.Manifest{}}
	app := repo(t, s, testImage)
	for i := range 8 {
		tag := fmt.Sprintf("v%d", i)
		noise := content.NoiseBytes(uint64(500+i), int64(400_000*(1+i%4)))
		c.images[tag] = must(app.Image(t.Context(), tag, content.Image{Layers: append(content.Sample(tag).Layers, content.Layer{
			MediaType: "application/vnd.oci.image.layer.v1.tar", Files: []content.File{{Name: "noise", Text: string(noise)}},
		})}))(t)
		c.tags = append(c.tags, tag)
		writeFile(t, filepath.Join(c.known, tag), noise, 0o600)
	}
	return c
}

// reading gives the variables of a reader's turn.
func (c *crowd) reading(r *rand.Rand) []string {
	tag := c.tags[r.IntN(len(c.tags))]
	image := c.images[tag]
	parts := []string{image.Config.Digest.Encoded()}
	for _, l := range image.Layers {
		parts = append(parts, l.Digest.Encoded())
	}
	blob := image.Layers[r.IntN(len(image.Layers))]
	if r.IntN(2) == 0 {
		blob = image.Layers[len(image.Layers)-1] // the big one
	}
	off := r.Int64N(blob.Size)
	length := 1 + r.Int64N(blob.Size-off)
	dir := c.at(testImage, "tags")
	rootless := ""
	if os.Geteuid() != 0 {
		rootless = "--rootless"
	}
	return []string{
		"D=" + filepath.Join(dir, tag), "TAG=" + tag, "TAGS=" + dir, "NAMES=" + strings.Join(c.tags, "\n"),
		"DIGEST=" + image.Digest.String(), "MANIFEST=" + image.Digest.Encoded(),
		"PARTS=" + strings.Join(parts, " "), "BLOBS=" + strings.Join(append(parts, image.Digest.Encoded()), " "),
		fmt.Sprint("COUNT=", len(image.Digests())),
		"BLOB=" + filepath.Join(dir, tag, "blobs/sha256", blob.Digest.Encoded()), "HEX=" + blob.Digest.Encoded(),
		fmt.Sprint("OFF=", off), fmt.Sprint("LEN=", length), "SUM=" + digest.FromBytes(blob.Bytes[off:off+length]).Encoded(),
		"KNOWN=" + c.known, "ROOTLESS=" + rootless,
	}
}

// writing gives the variables of a writer's turn, and what it pushes: an image that
// nobody had before, with one layer that all of them have.
func (c *crowd) writing(r *rand.Rand, repo, tag, dir string) ([]string, content.Manifest) {
	l := filepath.Join(dir, "layout")
	own := content.NoiseBytes(r.Uint64(), 300_000)
	image, err := content.Layout(l, tag,
		[]content.File{{Name: "shared", Text: strings.Repeat("all have this\n", 10_000)}},
		[]content.File{{Name: "own", Text: tag + string(own)}})
	if err != nil {
		c.t.Error(err)
	}
	return []string{"L=" + l, "TAG=" + tag, "OUT=" + c.at(repo), "MANIFEST=" + image.Digest.Encoded()}, image
}

func (c *crowd) at(path ...string) string {
	return filepath.Join(append([]string{c.m.Dir, c.host}, path...)...)
}
