package integration

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// exchange is a command of a transcript, and what it prints. "…" stands for what varies
// within a line; a line of "…" alone stands for any number of lines.
type exchange struct {
	command, output string
	line            int // of the command, from 1
}

// exchanges reads the blocks of a text that are marked as console.
func exchanges(text string) []exchange {
	var all []exchange
	inside := false
	for i, line := range strings.Split(text, "\n") {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```console"
		case inside && isCommand:
			all = append(all, exchange{command: command, line: i + 1})
		case inside && len(all) > 0:
			all[len(all)-1].output += line + "\n"
		}
	}
	return all
}

// printed is true if a command printed what the transcript says.
func (e exchange) printed(output string) bool {
	var pattern strings.Builder
	for line := range strings.Lines(e.output) {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), "…", ".*"))
	}
	return regexp.MustCompile(`\A` + pattern.String() + `\z`).MatchString(output)
}

// README.md and the manual show commands with what they print. They print it: on a mount
// of the demo's registry at ~/oci, where that registry is localhost:5000, and nobody
// listens at localhost:5001.
func TestTranscriptsAreTrue(t *testing.T) {
	t.Parallel()
	texts := must(filepath.Glob(filepath.Join(root, "cmd/ocifs/manual/*.md")))(t)
	for _, file := range append(texts, filepath.Join(root, "README.md")) {
		all := exchanges(string(must(os.ReadFile(file))(t)))
		if len(all) == 0 {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			person := newReader(t)
			for _, e := range all {
				if got := person.types(e.command); !e.printed(got) {
					t.Errorf("%s:%d: $ %s\nprints\n%s\nand the text says\n%s", file, e.line, e.command, got, e.output)
				}
			}
		})
	}
}

// reader is somebody who types what a text shows, from one home directory on.
type reader struct {
	t       *testing.T
	shell   *mount.Shell
	meant   *strings.Replacer // from the text to this test
	written *strings.Replacer // from this test to the text
}

func newReader(t *testing.T) *reader {
	t.Helper()
	s := startOlareg(t, registries.Options{})
	if err := content.Demo(t.Context(), s.Host); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	o := mount.Options{Binary: raceBin, Dir: filepath.Join(home, "oci"), Cache: filepath.Join(home, "cache"), Home: home}
	for _, dir := range []string{o.Dir, o.Cache} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m := &mounted{t: t, Mount: must(mount.Start(limit(t, 30*time.Second), o))(t)}
	t.Cleanup(m.unmount)
	// The files that the texts push.
	if err := os.WriteFile(filepath.Join(home, "model.onnx"), []byte("a model\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.sh("cp %s $HOME/app.tar", quote(m.at(s, content.DemoRepository, "archives/v1.tar")))
	shell := must(mount.NewShell(m.env()))(t)
	t.Cleanup(func() { shell.Close() })
	_, port, _ := strings.Cut(s.Host, ":")
	_, nobody, _ := strings.Cut(refusing(t), ":")
	r := &reader{t: t, shell: shell,
		meant:   strings.NewReplacer("localhost:5000", "localhost:"+port, "localhost_5000", "localhost_"+port, "localhost:5001", "localhost:"+nobody),
		written: strings.NewReplacer(port, "5000", nobody, "5001", home, "~"),
	}
	// The race detector is in the program, and skopeo may have no policy of its own here.
	r.types("ocifs() { " + quote(raceBin) + ` "$@"; }; skopeo() { command skopeo --insecure-policy "$@"; }; cd`)
	return r
}

// refusing is an address of this machine where nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l := must(new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	return l.Addr().String()
}

// types gives what a command prints, as the text would have it. Its exit code may be any.
func (r *reader) types(command string) string {
	r.t.Helper()
	out, err := r.shell.Do(r.meant.Replace(command) + "\ntrue")
	if err != nil {
		r.t.Fatalf("%v: %s", err, out)
	}
	return r.written.Replace(out)
}

// "…" in a transcript stands for a part of a line or for lines, and for nothing else.
func TestATranscriptIsCompared(t *testing.T) {
	t.Parallel()
	all := exchanges("```console\n$ a\none …\n…\n  …\nlast\n$ b\n```\n```sh\n$ c\n```\n")
	if len(all) != 2 || all[0].command != "a" || all[1] != (exchange{command: "b", line: 7}) {
		t.Fatalf("%+v", all)
	}
	for output, want := range map[string]bool{
		"one 1\nlast\n": true, "one 1\n2\n3\nlast\n": true, "one 1\nlast\nmore\n": false, "on\nlast\n": false, "one 1\n": false,
	} {
		if all[0].printed(output) != want {
			t.Errorf("%q is taken as %v", output, !want)
		}
	}
}
