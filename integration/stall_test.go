package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

const (
	// atOnce is how soon a program is answered that needs nothing of the network. That is
	// hundreds of times what it takes, as the machine is busy with other tests.
	atOnce = 2 * time.Second
	// afterASignal is how soon a program ends that got a signal. The daemon looks for
	// signals ten times a second.
	afterASignal = 5 * time.Second
)

// borrowing is a mount with a blob from which staged files are copied, and which the
// registry doesn't send to its end.
type borrowing struct {
	*mounted
	s    *registries.Server
	up   string // upload/ of another repository than the blob's
	blob content.Blob
}

func newBorrowing(t *testing.T, s *registries.Server) *borrowing {
	t.Helper()
	blob := must(repo(t, s, "team/from").Blob(t.Context(), "application/octet-stream", content.NoiseBytes(91, mib)))(t)
	m := testMount(t, mounting{})
	t.Cleanup(s.Heal) // before the mount's own clean-up: nothing waits any more
	b := &borrowing{m, s, m.at(s, "team/to/upload"), blob}
	m.sh("stat %s; ls -lR %s", b.from(), b.up)
	s.Fault(registries.Fault{Method: "GET", Path: "/blobs/" + blob.Digest.String(), Stall: 1})
	return b
}

// from is the path of the blob.
func (b *borrowing) from() string {
	return b.at(b.s, "team/from/blobs/sha256", b.blob.Digest.Encoded())
}

// borrow makes a staged file that stands for the blob, without its bytes, and gives its
// path.
func (b *borrowing) borrow(name string) string {
	b.t.Helper()
	file := filepath.Join(b.up, name)
	b.s.Forget()
	b.comes("create ok, copyrange ok, close ok", "create "+file, "copyrange "+b.from(), "close")
	if n := b.s.Counts()["GET blob"]; n != 0 {
		b.t.Fatalf("copy_file_range brings the bytes here: %v", b.s.Requests())
	}
	return file
}

// running is a program that runs beside the test.
type running struct {
	m     *mounted
	group string // the file with its process group
	came  chan mount.Result
}

// start starts a script beside the test, for a minute at most.
func (m *mounted) start(script string) *running {
	m.t.Helper()
	p := &running{m, filepath.Join(m.t.TempDir(), "group"), make(chan mount.Result, 1)}
	ctx := limit(m.t, time.Minute)
	go func() {
		r, err := mount.Run(ctx, m.env(), "echo $$ >"+quote(p.group)+"\n"+script)
		if err != nil {
			r.Stderr += err.Error()
		}
		p.came <- r
	}()
	return p
}

// waits checks that the program hasn't ended.
func (p *running) waits() {
	p.m.t.Helper()
	select {
	case r := <-p.came:
		p.m.t.Fatalf("the program doesn't wait: exit code %d after %s, %s", r.Code, r.Took, r.Stderr)
	default:
	}
}

// isEnded sends the program a signal, and checks that it ends of that.
func (p *running) isEnded(signal syscall.Signal) {
	p.m.t.Helper()
	group := must(strconv.Atoi(strings.TrimSpace(string(must(os.ReadFile(p.group))(p.m.t)))))(p.m.t)
	if err := syscall.Kill(-group, signal); err != nil {
		p.m.t.Fatal(err)
	}
	select {
	case r := <-p.came:
		if r.Code == 0 {
			p.m.t.Errorf("the program succeeded in spite of %s", signal)
		}
	case <-time.After(afterASignal):
		p.m.t.Fatalf("the program still waits %s after %s", afterASignal, signal)
	}
}

// answersAtOnce checks that each of some scripts succeeds without waiting. The first that
// doesn't ends the test, as it may stand in the way of all others.
func (m *mounted) answersAtOnce(scripts ...string) {
	m.t.Helper()
	for _, script := range scripts {
		if r, err := mount.Run(limit(m.t, atOnce), m.env(), script); err != nil || r.Code != 0 {
			m.t.Fatalf("%s: exit code %d, %v: %s", script, r.Code, err, r.Stderr)
		}
	}
}

// A write that has to download a blob first, of a registry that doesn't send it, stalls
// nobody else. When the registry sends it, the write goes on, and what was written is
// pushed.
func TestADownloadStallsNobody(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, s *registries.Server) {
		b := newBorrowing(t, s)
		file := b.borrow("blobs/.appended")
		other, _ := noiseFile(t, 92, 100_000)
		writer := b.start("printf appended >>" + file)
		for deadline := time.Now().Add(10 * time.Second); s.Counts()["GET blob"] == 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the write asks for no blob: %v", s.Requests())
			}
		}
		b.answersAtOnce(
			"ls -l "+b.up,
			"ls -la "+b.up+"/blobs",
			"ls -laR "+b.up,
			"stat "+b.up+" "+b.up+"/blobs "+file,
			"cp "+other+" "+b.up+"/other.tmp",
			"cmp "+other+" "+b.up+"/other.tmp",
			"mv "+b.up+"/other.tmp "+b.up+"/blobs/other",
			"cmp "+other+" "+b.up+"/blobs/other",
			"rm "+b.up+"/blobs/other",
			"mkdir "+b.up+"/d && rmdir "+b.up+"/d",
			"ls -l "+filepath.Dir(b.up),
			"cat $M/.ocifs/stats.json $M/.ocifs/uploads.json $M/.ocifs/transfers.json",
		)
		writer.waits()
		s.Heal()
		if r := <-writer.came; r.Code != 0 {
			t.Fatalf("the write: exit code %d, %s", r.Code, r.Stderr)
		}
		d := digest.FromBytes(append(b.blob.Bytes[:mib:mib], "appended"...))
		if got := b.sh("sha256sum <%s", file); !strings.HasPrefix(got, d.Encoded()) {
			t.Errorf("the file has digest %s, want %s", got, d)
		}
		b.sh("mv %s %s/blobs/appended", file, b.up)
		hasBlob(t, s, "team/to", d, http.StatusOK)
	})
}

// A signal ends a program that changes a staged file and waits for the blob that the file
// stands for, by whichever call it waits. The file stays as it was.
func TestWaitingForABlobIsInterrupted(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	b := newBorrowing(t, s)
	local, _ := noiseFile(t, 94, 1000)
	calls := []struct{ name, script string }{
		{"append", "exec dd status=none conv=notrunc oflag=append if=" + local + " of=%s"},
		{"overwrite", "exec dd status=none conv=notrunc if=" + local + " of=%s"},
		{"ftruncate", "exec truncate -s 1000 %s"},
		{"truncate", "exec " + probeBin + " truncate 1000 %s"},
	}
	for _, call := range calls {
		whole := t.Run(call.name, func(t *testing.T) {
			b := &borrowing{b.forTest(t), s, b.up, b.blob}
			file := b.borrow(call.name + ".tmp")
			for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
				program := b.start(fmt.Sprintf(call.script, file))
				time.Sleep(500 * time.Millisecond) // it has begun by then
				program.waits()
				program.isEnded(signal)
				b.answersAtOnce(fmt.Sprintf("test $(stat -c %%s %s) = %d", file, b.blob.Size))
			}
		})
		if !whole {
			return // what still waits would be in the way
		}
	}
	s.Heal()
	for _, call := range calls {
		b.probe("ok "+b.blob.Digest.Encoded(), "read", b.up+"/"+call.name+".tmp")
	}
	b.probe("ok", "truncate", "1000", b.up+"/truncate.tmp")
	b.holds(b.up+"/truncate.tmp", b.blob.Bytes[:1000])
}

// A close that hashes a large file stalls nobody else, and is ended by a signal.
func TestHashingStallsNobody(t *testing.T) {
	t.Parallel()
	s := startDistribution(t, registries.Options{})
	m := testMount(t, mounting{})
	up := m.at(s, "team/to/upload")
	other, _ := noiseFile(t, 93, 100_000)
	m.sh("ls -lR %s", up)
	// No byte is written, so all of the hashing is at the close. It takes half a minute
	// and more, and no room on the disk.
	const size = 64 << 30
	program := m.start(fmt.Sprintf("exec truncate -s %d %s/blobs/large", size, up))
	m.answersAtOnce(
		fmt.Sprintf("until [ \"$(stat -c %%s %s/blobs/large)\" = %d ]; do sleep 0.05; done", up, size),
		"ls -l "+up,
		"ls -l "+up+"/blobs",
		"stat "+up+"/blobs/large",
		"cp "+other+" "+up+"/blobs/other",
		"cmp "+other+" "+up+"/blobs/other",
	)
	program.waits()
	program.isEnded(syscall.SIGINT)
	m.answersAtOnce("rm " + up + "/blobs/large")
}
