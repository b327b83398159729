package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
)

// A line is cut to the columns of a terminal, and colours take none of them.
func TestLinesAreCutToTheTerminal(t *testing.T) {
	for in, want := range map[string]string{
		"12345": "12345", "123456": "1234…", "▕██▏ ": "▕██▏ ", "": "",
		"\x1b[1m1234\x1b[0m5": "\x1b[1m1234\x1b[0m5\x1b[0m", "\x1b[1m123456\x1b[0m": "\x1b[1m1234…\x1b[0m",
	} {
		if got := cutText(in, 5); got != want {
			t.Errorf("%q is cut to %q, want %q", in, got, want)
		}
	}
}

// Elsewhere than on a terminal, there are no bars and no colours, and what is watched has a time in UTC.
func TestStatusIsPlainWithoutATerminal(t *testing.T) {
	m := mountState{Mountpoint: "/mnt", Alive: true, Source: "ghcr.io"}
	m.Cache.Used, m.Cache.Limit = 1<<30, 10<<30
	m.Transfers = []transferState{{"sha256:" + strings.Repeat("0a", 32), "download", 1 << 20, 4 << 20}, {"sha256:" + strings.Repeat("0b", 32), "unpack", 1 << 20, -1}}
	m.Uploads = []upload.Record{{Repository: "ghcr.io/a", Target: "v1", State: upload.Failed, Error: "denied", Time: time.Now()}}
	m.Errors = []failure{{Time: time.Now(), Path: "a/b", Op: "open", Errno: "EACCES", Cause: "denied", Hint: "log in"}}
	var out bytes.Buffer
	on := newScreen(&out)
	if err := on.replace(time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), m.lines(on.style)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"2026-01-02T02:04:05Z\n/mnt: alive, ghcr.io, cache 1.0 GiB of 10 GiB\n", "  download  sha256:0a0a0a0a0a0a 1.0 MiB of 4.0 MiB\n",
		"  unpack    sha256:0b0b0b0b0b0b 1.0 MiB\n", "  push failed ghcr.io/a v1: denied (", "EACCES open a/b: denied\n    log in\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it has no %q:\n%s", want, &out)
		}
	}
	if strings.ContainsAny(out.String(), "\x1b▕") {
		t.Errorf("it isn't plain: %q", &out)
	}
}

// Text that others chose, such as the name of a file in an image, gives a terminal no orders and makes
// no line of its own.
func TestTextOfOthersIsPrintedAsText(t *testing.T) {
	evil := "a\x1b]0;owned\aß b\nc\u202ed\xff"
	want := `a\x1b]0;owned\aß b\nc\u202ed` + "\ufffd"
	if got := printable(evil); got != want {
		t.Errorf("it is printed as %q, want %q", got, want)
	}
	m := mountState{Mountpoint: "/mnt", Alive: true, Source: "ghcr.io"}
	m.Uploads = []upload.Record{{Repository: "ghcr.io/a", Target: evil, State: upload.Failed, Error: evil, Time: time.Now()}}
	m.Errors = []failure{{Time: time.Now(), Path: evil, Op: "open", Errno: "EACCES", Cause: evil, Hint: evil}}
	dead := silentState(mounted{mountpoint: "/" + evil}, "EIO", evil, evil)
	for _, line := range append(m.lines(style{}), dead.lines(style{})...) {
		if strings.ContainsAny(line, "\x1b\a\n\u202e") {
			t.Errorf("a line is %q", line)
		}
	}
}
