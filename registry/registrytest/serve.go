package registrytest

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// Serve starts a registry without a test: for an Example, or a program. stop stops it. What
// would fail a test panics.
func Serve(o Options) (s *Server, stop func()) {
	t := &outside{}
	return Start(t, o), t.cleanup
}

// outside stands for a test where there is none.
type outside struct {
	testing.TB // nil: what isn't below isn't called
	cleanups   []func()
}

func (*outside) Helper() {}

func (*outside) Name() string { return "registrytest.Serve" }

func (t *outside) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

func (t *outside) cleanup() {
	for _, f := range slices.Backward(t.cleanups) {
		f()
	}
	t.cleanups = nil
}

func (*outside) Log(args ...any) { fmt.Fprintln(os.Stderr, args...) }

func (*outside) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (*outside) Error(args ...any) { panic(fmt.Sprint(args...)) }

func (*outside) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (*outside) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (*outside) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
