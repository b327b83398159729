package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/ocifs/ocifs/cache/internal/ingest"
)

// bySlowWire gets the large blob by a wire that is slow enough for parts.
func bySlowWire(dir, _ string) error {
	s, err := Open(dir, Options{Parts: 8})
	if err != nil {
		return err
	}
	defer s.Close()
	w := newWire(8e6)
	go func() {
		for w.parts.Load() == 0 && w.sent.Load() < 8<<20 { // the last have too little to come for parts
			time.Sleep(time.Millisecond)
		}
		fmt.Println("coming")
	}()
	_, err = s.Get(context.Background(), w.want())
	return errors.Join(errors.New("it lived to the end"), err)
}

// Who is killed while a blob comes in parts leaves bytes that are right wherever the file
// has no hole, and the next one goes on with them.
func TestWhoDiesWhileABlobComesInPartsLeavesWhatIsRight(t *testing.T) {
	dir := t.TempDir()
	name := layout{dir}.partial(bigDigest())
	var had int64
	for i := range 3 {
		what := fmt.Sprintf("kill %d", i)
		cmd, says := process(t, dir, "slow")
		if l := says(); l != "coming" {
			t.Fatalf("%s: the child says %q", what, l)
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		_ = cmd.Process.Kill()
		killed(t, what, cmd, says)
		had = rightSoFar(t, what, name, had)
	}
	s := open(t, dir, Options{Parts: 8})
	w := newWire(500e6)
	whole(t, get(t, s, w.want()), w)
	if sent := w.sent.Load(); sent > int64(len(big()))-had {
		t.Errorf("of %d bytes %d were there, and %d were fetched", len(big()), had, sent)
	}
	if left := files(t, s.partials()); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// rightSoFar checks what is there of the large blob, which is no less than it was, and
// gives how much it is.
func rightSoFar(t *testing.T, what, name string, had int64) int64 {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer f.Close()
	in := ingest.New(ingest.Blob{Digest: bigDigest(), Size: int64(len(big())), Fetch: func(context.Context, int64, int64) (io.ReadCloser, error) {
		return nil, errFlaky
	}}, ingest.Options{})
	if _, err := in.Run(t.Context(), f, func() {}); !errors.Is(err, errFlaky) {
		t.Fatalf("%s: %v", what, err)
	}
	const block = 4096
	b := make([]byte, block)
	for at := int64(0); at+block <= int64(len(big())); at += block {
		if !in.Attempt().Has(at, at+block) {
			continue
		}
		if _, err := f.ReadAt(b, at); err != nil || !bytes.Equal(b, big()[at:at+block]) {
			t.Fatalf("%s: the bytes from %d up to %d are others (%v)", what, at, at+block, err)
		}
	}
	if in.Done() < had {
		t.Errorf("%s: %d bytes are there, and there were %d", what, in.Done(), had)
	}
	return in.Done()
}
