package layers

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

// written keeps what was written to it.
type written struct{ b []byte }

func (w *written) Write(b []byte) (int, error) {
	w.b = append(w.b, b...)
	return len(b), nil
}

// pattern gives bytes that tell where they are.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8) ^ byte(i>>16)
	}
	return b
}

// What a tee gives is what was unpacked, in order, and it is written before it is read, however
// short the reads below and above are.
func TestTeeWritesBeforeItGives(t *testing.T) {
	for _, size := range []int{0, 1, chunk - 1, chunk, chunk + 1, (2*pumpChunks+1)*chunk + 7} {
		want := pattern(size)
		p := startPump(func(emit func(io.Reader) error) error {
			return emit(iotest.HalfReader(bytes.NewReader(want)))
		}, nil)
		var to written
		tee := &tee{from: p, to: &to}
		var got []byte
		buf := make([]byte, 100_000)
		for {
			n, err := tee.Read(buf)
			got = append(got, buf[:n]...)
			if len(got) > len(to.b) {
				t.Fatalf("of %d bytes, %d were read when %d were written", size, len(got), len(to.b))
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		p.close()
		if !bytes.Equal(got, want) || !bytes.Equal(to.b, want) {
			t.Errorf("of %d bytes, %d were read and %d written, or others", size, len(got), len(to.b))
		}
	}
}

// An error of the unpacking comes back as it is, behind the bytes before it. That is so for
// io.ErrUnexpectedEOF too, which means a download that is too short, and no end.
func TestPumpGivesTheErrorBehindTheBytes(t *testing.T) {
	for _, cause := range []error{errors.New("broken"), io.ErrUnexpectedEOF} {
		want := pattern(chunk + 5)
		p := startPump(func(emit func(io.Reader) error) error {
			return emit(io.MultiReader(bytes.NewReader(want), iotest.ErrReader(cause)))
		}, nil)
		tee := &tee{from: p, to: io.Discard}
		got, err := io.ReadAll(tee)
		if !bytes.Equal(got, want) || err != cause {
			t.Errorf("%d bytes of %d, and %v; want %v", len(got), len(want), err, cause)
		}
		if _, err := tee.Read(make([]byte, 1)); err != cause {
			t.Errorf("the next read gives %v", err)
		}
		p.close()
	}
}

// A reader that leaves ends the unpacking, wherever that is.
func TestPumpEndsWithItsReader(t *testing.T) {
	ended := make(chan error, 1)
	p := startPump(func(emit func(io.Reader) error) error {
		err := emit(endless{})
		ended <- err
		return err
	}, nil)
	tee := &tee{from: p, to: io.Discard}
	if _, err := tee.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p.close()
	select {
	case err := <-ended:
		if err != errPumpClosed {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("close returned while the goroutine runs")
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A failed write is the error of the reader, and nothing more is written.
func TestTeeEndsWithAFailedWrite(t *testing.T) {
	p := startPump(func(emit func(io.Reader) error) error { return emit(endless{}) }, nil)
	defer p.close()
	full := errors.New("full")
	writes := 0
	tee := &tee{from: p, to: writerFunc(func([]byte) (int, error) { writes++; return 0, full })}
	for range 2 {
		if n, err := tee.Read(make([]byte, 1)); n != 0 || err != full {
			t.Errorf("%d bytes, and %v", n, err)
		}
	}
	if writes != 1 {
		t.Errorf("%d writes", writes)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A panic while unpacking is an error for the reader, and is told once.
func TestPumpSurvivesAPanic(t *testing.T) {
	told := make(chan any, 2)
	p := startPump(func(func(io.Reader) error) error { panic("gone wrong") }, func(cause any, _ []byte) { told <- cause })
	_, err := (&tee{from: p, to: io.Discard}).Read(make([]byte, 1))
	p.close()
	if err == nil || err == io.EOF {
		t.Errorf("the reader gets %v", err)
	}
	if len(told) != 1 || <-told != "gone wrong" {
		t.Errorf("told %d times, or of another panic", len(told))
	}
}
