package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ocifs/ocifs/integration/internal/content"
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

// README.md and the manual show commands with what they print. They print it: each text is a script of
// its own, see testdata/transcript.txtar.
func TestTranscriptsAreTrue(t *testing.T) {
	t.Parallel()
	texts := must(filepath.Glob(filepath.Join(root, "cmd/ocifs/manual/*.md")))(t)
	for _, file := range append(texts, filepath.Join(root, "README.md")) {
		if len(exchanges(string(must(os.ReadFile(file))(t)))) == 0 {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			runScript(t, "testdata/transcript.txtar", "TEXT="+file)
		})
	}
}

// transcript types what a text shows into one shell, and compares what is printed: transcript FILE. Exit
// codes may be any. In the text the registry is localhost:5000, and nobody listens at localhost:5001. Home is "~".
func transcript(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: transcript FILE")
	}
	_, port, _ := strings.Cut(ts.Getenv("REGISTRY"), ":")
	_, nobody, _ := strings.Cut(refusing(ts), ":")
	meant := strings.NewReplacer("localhost:5000", "localhost:"+port, "localhost_5000", "localhost_"+port, "localhost:5001", "localhost:"+nobody)
	written := strings.NewReplacer(port, "5000", nobody, "5001", ts.Getenv("HOME"), "~")
	all := exchanges(ts.ReadFile(args[0]))
	var script strings.Builder
	for _, e := range all {
		fmt.Fprintf(&script, "%s\necho '%s'\n", meant.Replace(e.command), endOfExchange)
	}
	file := filepath.Join(ts.Getenv("WORK"), "typed")
	ts.Check(os.WriteFile(file, []byte(script.String()), 0o600))
	if err := ts.Exec("sh", "-c", `exec 2>&1; cd && . "$0"`, file); err != nil {
		ts.Fatalf("%v", err)
	}
	printed := strings.Split(ts.ReadFile("stdout"), endOfExchange+"\n")
	for i, e := range all {
		if i >= len(printed)-1 {
			ts.Fatalf("%s:%d: $ %s\nthe shell has ended", args[0], e.line, e.command)
		}
		if got := written.Replace(printed[i]); !e.printed(got) {
			ts.Fatalf("%s:%d: $ %s\nprints\n%s\nand the text says\n%s", args[0], e.line, e.command, got, e.output)
		}
	}
}

// demo pushes what the texts show: demo.
func demo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: demo")
	}
	in := ts.Value(scripted{}).(scripted)
	ts.Check(content.Demo(in.t.Context(), in.s.Host))
}

// refusing is an address of this machine where nobody listens.
func refusing(ts *testscript.TestScript) string {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	return l.Addr().String()
}

// endOfExchange is printed behind what each command of a transcript prints.
const endOfExchange = "::ocifs:: end of exchange"

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
