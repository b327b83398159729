package integration

import (
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// These are the commands of scripts that testscript doesn't have: see TestScripts.

// trace is of a program that broke down.
var trace = regexp.MustCompile(`(?m)^(panic: |goroutine \d|fatal error: )`)

// exits runs a program, and checks its exit code, and that a failure comes with a sentence.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARG…]")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("exits: %v", err)
	}
	code := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	said := ts.ReadFile("stderr")
	switch {
	case code != want:
		ts.Fatalf("exit code %d, want %d", code, want)
	case code != 0 && (strings.TrimSpace(said) == "" || strings.Count(said, "\n") > 4):
		ts.Fatalf("it failed without a sentence that says why")
	case trace.MatchString(said):
		ts.Fatalf("it broke down")
	}
}

// push pushes content to the registry of the script: push KIND REPOSITORY:TAG. KIND is:
//
//   - sample: an image of three layers, whose etc/version is the tag
//   - big: an image of one layer with rootfs/big of 8 MiB
//   - index: an index of three platforms
//   - runnable: an image with a shell
//   - artifact: an artifact of titled files
func push(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: push KIND REPOSITORY:TAG")
	}
	in := ts.Value(scripted{}).(scripted)
	path, tag, _ := strings.Cut(args[1], ":")
	r := repo(in.t, in.s, path)
	var err error
	switch args[0] {
	case "sample":
		_, err = r.Image(in.t.Context(), tag, content.Sample(tag))
	case "big":
		layer, _ := big(in.t, 81)
		_, err = r.Image(in.t.Context(), tag, content.Image{Layers: []content.Layer{layer}})
	case "index":
		_, err = r.MultiPlatform(in.t.Context(), tag)
	case "artifact":
		_, err = r.TitledArtifact(in.t.Context(), tag)
	case "runnable":
		_, err = r.Image(in.t.Context(), tag, must(content.Runnable())(in.t))
	default:
		ts.Fatalf("push: there is no %s", args[0])
	}
	ts.Check(err)
}

// registry has the registry of the script misbehave, or tells of it:
//
//   - registry stall BYTES: a blob is sent so far, and no further
//   - registry hold: no blob is sent at all
//   - registry heal: ends these, and what was held goes on
//   - registry gone, registry back: nobody listens
//   - registry forget: the bytes of blobs that were sent are counted from here
//   - registry sent MIN MAX: so many bytes of blobs were sent
func registry(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(scripted{}).(scripted).s
	number := func(n int) int64 {
		if len(args) <= n {
			ts.Fatalf("registry %s: too few arguments", args[0])
		}
		v, err := strconv.ParseInt(args[n], 10, 64)
		ts.Check(err)
		return v
	}
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry WHAT [NUMBER…]")
	}
	switch args[0] {
	case "stall":
		s.Fault(registries.Fault{Method: "GET", Path: "/blobs/", Stall: number(1)})
	case "hold":
		s.Fault(registries.Fault{Method: "GET", Path: "/blobs/", Hold: true})
	case "heal":
		s.Heal()
	case "gone":
		ts.Check(s.Gone())
	case "back":
		ts.Check(s.Back())
	case "forget":
		s.Forget()
	case "sent":
		if sent := blobBytes(s); sent < number(1) || sent > number(2) {
			ts.Fatalf("the registry sent %d bytes of blobs", sent)
		}
	default:
		ts.Fatalf("registry: there is no %s", args[0])
	}
}

// blobBytes counts the bytes of blobs that the registry sent.
func blobBytes(s *registries.Server) (n int64) {
	for _, r := range s.Requests() {
		if strings.Contains(r.Path, "/blobs/") {
			n += r.Bytes
		}
	}
	return n
}
