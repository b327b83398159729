package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/registrytest"
)

// The test binary is a second process where these stand in its environment.
const (
	childDir  = "OCIFS_TEST_CACHE_DIR"
	childRole = "OCIFS_TEST_CACHE_ROLE"
)

var childContent = content(99, 600<<10)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		role, arg, _ := strings.Cut(os.Getenv(childRole), ":")
		run := map[string]func(dir, arg string) error{
			"mortal": mortal, "busy": busy, "slow": bySlowWire, "mortal maker": mortalMaker, "maker": makingChild,
		}[role]
		if run == nil {
			run, arg = child, role
		}
		if err := run(dir, arg); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(registrytest.NoLeaks(m))
}

// child wants the blob. A waiter mustn't fetch it; a victim fetches half of it; a holder
// has it, and keeps the cache open.
func child(dir, role string) error {
	s, err := Open(dir, Options{For: role})
	if err != nil {
		return err
	}
	defer s.Close()
	if role == "holder" {
		if err := s.Put(digest.FromBytes(childContent), childContent); err != nil {
			return err
		}
		for !s.placed(digest.FromBytes(childContent), int64(len(childContent))) {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("holding")
		select {}
	}
	w := Want{Digest: digest.FromBytes(childContent), Size: int64(len(childContent))}
	w.Fetch = func(ctx context.Context, _, _ int64) (io.ReadCloser, error) {
		if role == "waiter" {
			return nil, fmt.Errorf("the second process fetches")
		}
		half := bytes.NewReader(childContent[:len(childContent)/2])
		return slow{ctx, closed, io.MultiReader(half, stuck{})}, nil
	}
	if role == "waiter" {
		go func() {
			for waiting(s) != 1 {
				time.Sleep(time.Millisecond)
			}
			fmt.Println("waiting")
		}()
	}
	f, err := s.Get(context.Background(), w)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err == nil && !bytes.Equal(b, childContent) {
		err = fmt.Errorf("another content")
	}
	if err == nil {
		fmt.Println("got it")
	}
	return err
}

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// stuck says that all before it was taken, and gives nothing.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { fmt.Println("half"); select {} }

// process starts a child, and gives what it says, line by line.
func process(t *testing.T, dir, role string) (*exec.Cmd, func() string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRole+"="+role)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	return cmd, func() string { lines.Scan(); return lines.Text() }
}

func TestTwoStoresOnOneDirectoryDownloadOnce(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, dir, Options{}), open(t, dir, Options{})
	b := content(1, 1000)
	w, let, fetches := held(b)
	a := start(t.Context(), one, w, 5)
	eventually(t, "the first downloads", func() bool { return fetches.Load() == 1 })
	c := start(t.Context(), two, w, 5)
	eventually(t, "the second waits", func() bool { return waiting(two) == 5 })
	close(let)
	for range 5 {
		for _, o := range []outcome{<-a, <-c} {
			if o.err != nil {
				t.Fatal(o.err)
			}
			holds(t, o.f, b)
			_ = o.f.Close()
		}
	}
	if fetches.Load() != 1 {
		t.Errorf("%d fetches", fetches.Load())
	}
	if left := files(t, one.partials()); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestTwoProcessesDownloadOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, Options{})
	w, let, fetches := held(childContent)
	c := start(t.Context(), s, w, 1)
	eventually(t, "it downloads", func() bool { return fetches.Load() == 1 })
	_, says := process(t, dir, "waiter")
	if l := says(); l != "waiting" {
		t.Fatalf("the second process says %q", l)
	}
	close(let)
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	_ = o.f.Close()
	if l := says(); l != "got it" {
		t.Errorf("the second process says %q", l)
	}
}

// Another process goes on where one that was killed stopped.
//
// Behaviour: blob.restart
func TestWhatAKilledProcessLeftIsContinued(t *testing.T) {
	dir := t.TempDir()
	cmd, says := process(t, dir, "victim")
	if l := says(); l != "half" {
		t.Fatalf("the second process says %q", l)
	}
	s := open(t, dir, Options{})
	src := &source{b: childContent}
	c := start(t.Context(), s, src.want(), 1)
	eventually(t, "this one waits", func() bool { return waiting(s) == 1 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	defer o.f.Close()
	holds(t, o.f, childContent)
	if src.fetches.Load() != 1 || src.offset.Load() != int64(len(childContent)/2) {
		t.Errorf("%d fetches, the last from %d", src.fetches.Load(), src.offset.Load())
	}
}
