package crowd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
)

// variables are what a turn's scripts find in their environment, and what runs
// before them.
type variables struct {
	env []string
	// start starts the script, right comes before what checks its work.
	start, right string
}

// asItIs starts a script.
const asItIs = `timeout -k 5 $PATIENCE /bin/sh -c "$SCRIPT"`

// standing starts a script in the directory of a tag that may move meanwhile, and
// walking one that goes on in the directory of what the tag points at. It isn't cd
// that goes there, as not every shell's says why it can't.
const (
	standing = `timeout -k 5 $PATIENCE env -C "$D" /bin/sh -c "D=.; seen=\$(cat digest) || exit 1; $KNOWING $SCRIPT"`
	walking  = `timeout -k 5 $PATIENCE /bin/sh -c "seen=\$(cat $D/digest) || exit 1; D=$IMAGES/\${seen#sha256:}; $KNOWING $SCRIPT"`
	knowing  = `echo $seen >$W/seen; [ -e $W/known/$seen ] || { echo "the tag was $seen, which nobody pushed" >&2; exit 3; }; . $W/known/$seen;`
	known    = `. $W/known/$(cat $W/seen) && `
)

// reading gives the variables of a reader's turn, whose directory is w.
func (c *Crowd) reading(r *rand.Rand, pr program, w string) (variables, error) {
	tag := c.tags[r.IntN(len(c.tags))]
	dir := c.at(Repository, "tags")
	rootless := ""
	if os.Geteuid() != 0 {
		rootless = "--rootless"
	}
	v := variables{start: asItIs, env: []string{
		"D=" + filepath.Join(dir, tag), "TAG=" + tag, "TAGS=" + dir, "NAMES=" + strings.Join(c.tags, "\n"), "ROOTLESS=" + rootless,
	}}
	images := c.images[tag]
	if len(images) == 1 {
		v.env = append(v.env, images[0].variables(r, filepath.Join(dir, tag))...)
		return v, nil
	}
	// Which of them it will be nobody knows before the program is there.
	if err := os.Mkdir(filepath.Join(w, "known"), 0o700); err != nil {
		return v, err
	}
	v.start, v.right = standing, known
	if pr.walks {
		v.start = walking
		v.env = append(v.env, "TAG=latest") // as the layout of a digest has it
	}
	v.env = append(v.env, "KNOWING="+knowing, "IMAGES="+c.at(Repository, "manifests/sha256"))
	for _, i := range images {
		var b strings.Builder
		for _, assignment := range i.variables(r, "$D") {
			name, value, _ := strings.Cut(assignment, "=")
			fmt.Fprintf(&b, "%s=\"%s\"\n", name, value) // nothing in it that a shell heeds, but for $D
		}
		if err := os.WriteFile(filepath.Join(w, "known", i.Digest.String()), []byte(b.String()), 0o600); err != nil {
			return v, err
		}
	}
	return v, nil
}

// variables tell of an image that is seen at dir, and name something of it to read.
func (i image) variables(r *rand.Rand, dir string) []string {
	parts := []string{i.Config.Digest.Encoded()}
	for _, l := range i.Layers {
		parts = append(parts, l.Digest.Encoded())
	}
	blob := i.Layers[r.IntN(len(i.Layers))]
	if r.IntN(2) == 0 {
		blob = i.Layers[len(i.Layers)-1] // the big one
	}
	off := r.Int64N(blob.Size)
	length := 1 + r.Int64N(blob.Size-off)
	return []string{
		"DIGEST=" + i.Digest.String(), "MANIFEST=" + i.Digest.Encoded(),
		"PARTS=" + strings.Join(parts, " "), "BLOBS=" + strings.Join(append(parts, i.Digest.Encoded()), " "),
		fmt.Sprint("COUNT=", len(i.Digests())), "NOISE=" + i.noise,
		"BLOB=" + dir + "/blobs/sha256/" + blob.Digest.Encoded(), "HEX=" + blob.Digest.Encoded(),
		fmt.Sprint("OFF=", off), fmt.Sprint("LEN=", length), "SUM=" + digest.FromBytes(blob.Bytes[off:off+length]).Encoded(),
	}
}

// writing gives the variables of a writer's turn, which pushes an image that nobody
// had before, with one layer that all of them have.
func (c *Crowd) writing(r *rand.Rand, p push, w string) (variables, error) {
	l := filepath.Join(w, "layout")
	own := content.NoiseBytes(r.Uint64(), 300_000)
	image, err := content.Layout(l, p.tag,
		[]content.File{{Name: "shared", Text: strings.Repeat("all have this\n", 10_000)}},
		[]content.File{{Name: "own", Text: p.tag + string(own)}})
	if err != nil {
		return variables{}, err
	}
	c.tries(p, image)
	return variables{start: asItIs, env: []string{
		"L=" + l, "TAG=" + p.tag, "OUT=" + c.at(p.repo), "MANIFEST=" + image.Digest.Encoded(),
	}}, nil
}
