package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"

	"github.com/opencontainers/go-digest"
)

// packed is the blob that b is made of.
func packed(b []byte) digest.Digest {
	return digest.FromString("packed: " + digest.FromBytes(b).String())
}

// flakyMaking makes b, breaks off in its middle where how is 0, and after the end where it is 1.
// What was made is remembered by an index of what it was made of.
func flakyMaking(s *Store, b []byte, how int) Making {
	return Making{
		Of: packed(b), Size: []int64{int64(len(b)), -1}[how%2], From: "test",
		Known: func() (digest.Digest, int64, bool) {
			d, ok := madeBefore(s, b)
			return d, int64(len(b)), ok
		},
		Write: func(_ context.Context, w io.Writer, _ io.ReaderAt) error {
			if _, err := w.Write(b[:len(b)/2]); err != nil || how == 0 {
				return errors.Join(err, errFlaky)
			}
			_, err := w.Write(b[len(b)/2:])
			return err
		},
		Made: func(d digest.Digest, _ int64) error {
			if how == 1 {
				return errFlaky
			}
			return s.PutIndex(packed(b), writing([]byte(d)))
		},
	}
}

// madeBefore is what an index says that was made.
func madeBefore(s *Store, b []byte) (digest.Digest, bool) {
	x, err := s.OpenIndex(packed(b))
	if err != nil {
		return "", false
	}
	defer x.Close()
	d, err := io.ReadAll(io.NewSectionReader(x, 0, x.Size()))
	return digest.Digest(d), err == nil
}

func indexOf(i int) digest.Digest { return digest.FromString(fmt.Sprint("layer ", i)) }
func crashIndex(i int) []byte     { return content(byte(i), i*500) }

// indexed reads one index, and writes it where it isn't there.
func indexed(s *Store, i int) error {
	x, err := s.OpenIndex(indexOf(i))
	if errors.Is(err, fs.ErrNotExist) {
		return s.PutIndex(indexOf(i), writing(crashIndex(i)))
	}
	if err != nil {
		return err
	}
	defer x.Close()
	got, err := io.ReadAll(io.NewSectionReader(x, 0, x.Size()))
	if err == nil && string(got) != string(crashIndex(i)) {
		err = fmt.Errorf("index %d was given with other bytes", i)
	}
	return err
}

// mortalMaker is mortal, and makes blobs and keeps indexes alone.
func mortalMaker(dir, at string) error {
	return mortalIn(dir, at, func(rng *rand.Rand) int { return toMake + rng.IntN(2) })
}

func TestWhoDiesWhileItMakesLeavesWhatIsRight(t *testing.T) {
	for _, at := range []string{
		"partial made", "making", "bytes written", "made", "made known", "verified", "synced", "made private", "renamed", "kept", "not kept",
		"unlocked", "evicted", "temporary made", "temporary written", "temporary renamed", "index evicted",
	} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, nth := range []int{1, 3} {
				what := fmt.Sprintf("%s/%d", at, nth)
				cmd, says := process(t, dir, "mortal maker:"+what)
				killed(t, what, cmd, says)
				survived(t, what, dir)
			}
		})
	}
}
