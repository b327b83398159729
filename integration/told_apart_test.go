package integration

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// trouble is one of the things that go wrong with a registry, and how it reads.
type trouble struct {
	name  string
	errno string
	text  string   // of the errno, as the C library prints it
	cause []string // that errors.jsonl says
	hint  []string
	image string // the image directory, from the repository
	make  func(t *testing.T, s *registries.Server, image content.Manifest)
	setup func(t *testing.T, s *registries.Server) func(home string)
}

const wrongPassword = "wrong-secret-word"

// troubles are those that people have to tell apart to know what to do next.
var troubles = []trouble{
	{name: "a wrong password", errno: "EACCES", text: "Permission denied", image: "tags/v1",
		cause: []string{"denied", "with the credential of", "config.json"}, hint: []string{"docker login"},
		setup: func(t *testing.T, s *registries.Server) func(string) { return dockerLogin(t, s, "jane", wrongPassword) }},
	{name: "no such image", errno: "ENOENT", text: "No such file or directory", image: "tags/v9",
		cause: []string{"not found", "v9"}, hint: []string{"check the repository and the tag"}},
	{name: "a registry that is down", errno: "EHOSTUNREACH", text: "No route to host", image: "tags/v1",
		cause: []string{"unreachable", "refused"}, hint: []string{"check the host's name, the network"},
		make: func(t *testing.T, s *registries.Server, _ content.Manifest) {
			if err := s.Gone(); err != nil {
				t.Fatal(err)
			}
		}},
	{name: "a corrupt blob", errno: "EBADMSG", text: "Bad message", image: "tags/v1",
		cause: []string{"match its digest", "sha256:d23c6957dd29"}, hint: []string{"other bytes than the digest promises", "tell those who run the registry"},
		make: func(_ *testing.T, s *registries.Server, image content.Manifest) {
			s.Fault(registries.Fault{Path: "/blobs/" + image.Layers[0].Digest.String(), Corrupt: 10})
		}},
}

// cat, cp and skopeo say by their own words alone which of the four it is, and
// errors.jsonl says what to do about it. The manual quotes all of it.
//
// Behaviour: auth.told, blob.private
func TestFourTroublesAreToldApart(t *testing.T) {
	t.Parallel()
	page := string(must(os.ReadFile(filepath.Join(root, "cmd/ocifs/manual/errors.md")))(t))
	for kind, start := range map[string]func(*testing.T, registries.Options) *registries.Server{
		"distribution": startDistribution, "docker-registry": startDebian,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			for _, c := range troubles {
				t.Run(c.name, func(t *testing.T) { c.isTold(t, start(t, registries.Options{Users: jane}), page) })
			}
		})
	}
}

func (c trouble) isTold(t *testing.T, s *registries.Server, page string) {
	app := must(content.To(s.Host, testImage, "jane", jane["jane"]))(t)
	image := must(app.Image(t.Context(), "v1", content.Sample("v1")))(t)
	setup := dockerLogin(t, s, "jane", jane["jane"])
	if c.setup != nil {
		setup = c.setup(t, s)
	}
	m := testMount(t, mounting{setup: setup})
	if c.make != nil {
		c.make(t, s, image)
	}
	layer := fmt.Sprintf("%s/layers/00-%.12s.tar.gz", c.image, image.Layers[0].Digest.Encoded())
	for _, script := range []string{
		"cat " + layer,
		"cp " + layer + " $HOME/layer",
		"skopeo copy oci:" + c.image + ":v1 dir:$HOME/copy",
	} {
		program, _, _ := strings.Cut(script, " ")
		script = strings.Replace(script, "skopeo", "skopeo --insecure-policy", 1)
		r := must(mount.Run(limit(t, time.Minute), append(m.env(), "LC_ALL=C"), "cd "+m.at(s, testImage)+" && "+script))(t)
		said := plain(m, s, r.Stderr)
		if r.Code == 0 || program == "cat" && r.Stdout != "" {
			t.Errorf("%s ends with %d, and printed %d bytes", program, r.Code, len(r.Stdout))
		}
		for _, other := range troubles {
			if strings.Contains(strings.ToLower(said), strings.ToLower(other.text)) != (other.errno == c.errno) {
				t.Errorf("%s: %s says %q, want %s and no other", c.name, program, said, c.text)
			}
		}
		t.Logf("%s: %s", c.name, said)
		// Of skopeo's words the errno's are ours; the others are those of its version.
		if program == "skopeo" && !quotes(page, "level=fatal", strings.ToLower(c.text)) || program != "skopeo" && !quotes(page, said) {
			t.Errorf("%s: errors.md doesn't have what %s says: %s", c.name, program, said)
		}
	}
	f := m.lastFailure(c.errno)
	for _, want := range c.cause {
		if !strings.Contains(f.Cause, want) {
			t.Errorf("%s: the cause says nothing of %q: %s", c.name, want, f.Cause)
		}
	}
	for _, want := range c.hint {
		if !strings.Contains(f.Hint, want) {
			t.Errorf("%s: the hint says nothing of %q: %s", c.name, want, f.Hint)
		}
	}
	hint := plain(m, s, f.Hint)
	t.Logf("%s: %s; %s", c.name, plain(m, s, f.Cause), hint)
	// What registries say of a cause differs.
	if !quotes(page, c.cause...) || !quotes(page, hint) {
		t.Errorf("%s: errors.md doesn't have this: %s; %s", c.name, f.Cause, hint)
	}
	everything := m.sh("cat $M/.ocifs/*") + m.Output()
	for _, secret := range []string{wrongPassword, jane["jane"]} {
		if strings.Contains(everything, secret) || strings.Contains(everything, base64.StdEncoding.EncodeToString([]byte("jane:"+secret))) {
			t.Errorf("%s: a password is shown in .ocifs or in the log", c.name)
		}
	}
}

var logTime = regexp.MustCompile(`(?m)^time="[^"]*" `)

// plain is what was said without what differs from one run to the next, as a person
// whose registry is localhost:5000 would read it.
func plain(m *mounted, s *registries.Server, said string) string {
	said = strings.NewReplacer(
		m.at(s, testImage)+"/", "", m.Home, "~", s.Host, "localhost:5000", treeName(s), "localhost_5000",
	).Replace(said)
	return strings.TrimSpace(logTime.ReplaceAllString(said, ""))
}

// quotes says whether the manual has a line in which all of this stands.
func quotes(page string, all ...string) bool {
	for line := range strings.Lines(page) {
		if !slices.ContainsFunc(all, func(s string) bool { return !strings.Contains(line, s) }) {
			return true
		}
	}
	return false
}
