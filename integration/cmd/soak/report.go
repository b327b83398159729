package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// report prints what happens, with the time since the beginning, and keeps which
// promises were broken. It is safe for concurrent use.
type report struct {
	began time.Time

	mu     sync.Mutex
	broken []string
}

func newReport() *report { return &report{began: time.Now()} }

// Logf tells something.
func (r *report) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.print(fmt.Sprintf(format, args...))
}

// Errorf tells of a promise that was broken.
func (r *report) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	r.broken = append(r.broken, text)
	r.print("BROKEN: " + text)
}

func (r *report) print(text string) {
	since := time.Since(r.began)
	fmt.Printf("%02d:%02d  %s\n", int(since.Minutes()), int(since.Seconds())%60, text)
}

// verdict is the error that names what was broken.
func (r *report) verdict() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.broken) == 0 {
		return nil
	}
	first := ""
	for i, b := range r.broken {
		if i == 10 {
			first += "\n…"
			break
		}
		line, _, _ := strings.Cut(b, "\n")
		first += "\n- " + line
	}
	return fmt.Errorf("%d promises were broken:%s", len(r.broken), first)
}

// figures is a table of what came of it all.
type figures []struct{ what, is string }

func (f *figures) add(what, format string, args ...any) {
	*f = append(*f, struct{ what, is string }{what, fmt.Sprintf(format, args...)})
}

func (f figures) String() string {
	var b strings.Builder
	for _, row := range f {
		fmt.Fprintf(&b, "%-24s %s\n", row.what, row.is)
	}
	return b.String()
}
