package integration

import (
	"strings"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/registries"
)

// With --verify=stream a blob is shown as it comes, but for its end: that waits until
// all of it has matched.
func TestStreamingShowsABlobAsItComes(t *testing.T) {
	t.Parallel()
	const size = 5*mib + 100
	b := newBroken(t, size, mounting{flags: []string{"--verify=stream"}})
	b.s.Fault(registries.Fault{Path: b.asked, Stall: 3 * mib, Times: 1})
	if got := b.sh("head -c %d %s | wc -c", 2*mib, quote(b.file)); strings.TrimSpace(got) != "2097152" {
		t.Errorf("head got %s bytes of what has come", got)
	}
	r := b.run("timeout 1 tail -c 1 " + quote(b.file))
	if r.Code != 124 || r.Stdout != "" {
		t.Errorf("the end is shown before it has come: exit code %d, %q", r.Code, r.Stdout)
	}
	b.s.Heal()
	b.probe(b.whole(), "read", b.file)
	b.probe(b.whole(), "mmap", b.file)
}

// A blob that doesn't match ends all who read it with EBADMSG, never a byte of its
// end was shown, and nothing of it stays.
func TestStreamingABlobThatDoesntMatch(t *testing.T) {
	t.Parallel()
	const size = 5*mib + 100
	b := newBroken(t, size, mounting{flags: []string{"--verify=stream"}})
	b.s.Fault(registries.Fault{Path: b.asked, Corrupt: 4*mib + 1})
	for range 2 {
		r := b.run("cat " + quote(b.file) + " | head -c 100000000 | wc -c")
		if n := strings.TrimSpace(r.Stdout); n == "5242980" || !strings.Contains(r.Stderr, "Bad message") {
			t.Errorf("cat got %s bytes, and said %q", n, r.Stderr)
		}
	}
	b.probe("EBADMSG", "read", b.file)
	if f := b.lastFailure("EBADMSG"); !strings.Contains(f.Cause, b.layer.Digest.Encoded()) {
		t.Errorf("the cause doesn't name the digest: %s", f.Cause)
	}
	b.s.Heal()
	b.probe(b.whole(), "read", b.file)
	b.probe(b.whole(), "mmap", b.file)
}

// A large blob of a registry that sends slowly comes by several connections, and by one
// where that is asked for.
func TestALargeBlobComesInParts(t *testing.T) {
	t.Parallel()
	b := newBroken(t, 72*mib, mounting{plain: true})
	one := testMount(t, mounting{flags: []string{"--connections", "1"}})
	b.s.Fault(registries.Fault{Path: b.asked, Slow: 24 * mib})
	for _, c := range []struct {
		m       *mounted
		several bool
	}{{b.mounted, true}, {one, false}} {
		b.s.Forget()
		c.m.probe(b.whole(), "read", c.m.at(b.s, testImage, "tags/v1/files/noise"))
		parts := 0
		for _, r := range b.s.Requests() {
			if strings.HasPrefix(r.Range, "bytes=") && r.Range != "bytes=0-" {
				parts++
			}
		}
		if (parts > 0) != c.several {
			t.Errorf("%d parts", parts)
		}
	}
	b.isSmall()
}
