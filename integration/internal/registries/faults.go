package registries

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault says which requests and answers go wrong, and how. The first fault that
// matches a request spoils it. A zero field changes nothing.
type Fault struct {
	// Method and Path select requests: an equal method, and a path that
	// contains Path. Empty selects all.
	Method, Path string
	// Times is how many requests are spoiled before the fault is over; 0: all.
	Times int

	// Status is answered in place of the registry's answer, with Header. Without
	// it, the registry's answer has Header besides its own.
	Status int
	Header http.Header

	// Corrupt flips the bits of the body's byte at this offset, counted from 1
	// and from the start of the answer.
	Corrupt int64
	// Short ends the body after Short bytes, with a Content-Length to match:
	// a registry that believes its file to be shorter.
	Short int64
	// Cut drops the connection after that many bytes of the body, less than
	// Content-Length promised.
	Cut int64
	// Stall sends that many bytes of the body and then nothing, with the
	// connection open, until Release, Gone or the client's going away.
	Stall int64
	// Slow sends the body at that many bytes a second.
	Slow int64
	// Hold withholds the whole answer until Release, Gone or the client's
	// going away.
	Hold bool
	// NoRange has the registry answer a Range with the whole.
	NoRange bool

	// CutBody drops the connection after that many bytes of the request's body.
	CutBody int64
	// StallBody reads that many bytes of the request's body and then no more, until
	// Release, Gone or the client's going away.
	StallBody int64
	// NoMount has the registry begin an upload where it is asked to mount a blob.
	NoMount bool
	// Drain reads the request's body before Status is answered.
	Drain bool
	// Lose has the registry do what is asked, and drops the connection in place of
	// its answer.
	Lose bool
}

func (f *Fault) matches(r *http.Request) bool {
	return (f.Method == "" || f.Method == r.Method) && strings.Contains(r.URL.Path, f.Path)
}

// faults is the part of a front that misbehaves.
type faults struct {
	mu       sync.Mutex
	active   []*Fault
	used     map[*Fault]int
	released chan struct{} // closed by release; nil: nothing waits
	releases int           // counts what release was called
}

// Fault makes answers go wrong from now on, before the faults that were there.
func (f *faults) Fault(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = slices.Insert(f.active, 0, &fault)
}

// Heal ends all faults. Answers that are held or stalled go on.
func (f *faults) Heal() {
	f.mu.Lock()
	f.active, f.used = nil, nil
	f.mu.Unlock()
	f.release()
}

// release lets go of the answers that are being held or stalled.
func (f *faults) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.releases++
	if f.released != nil {
		close(f.released)
		f.released = nil
	}
}

// take finds the fault for a request and counts it.
func (f *faults) take(r *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*r = *r.WithContext(context.WithValue(r.Context(), releasesKey{}, f.releases))
	for _, fault := range f.active {
		if !fault.matches(r) || fault.Times > 0 && f.used[fault] >= fault.Times {
			continue
		}
		if f.used == nil {
			f.used = map[*Fault]int{}
		}
		f.used[fault]++
		return *fault, true
	}
	return Fault{}, false
}

// releasesKey finds how often there was a release when a request came.
type releasesKey struct{}

// wait holds an answer back, unless there was a release since its request came.
func (f *faults) wait(r *http.Request) {
	f.mu.Lock()
	if r.Context().Value(releasesKey{}) != f.releases {
		f.mu.Unlock()
		return
	}
	if f.released == nil {
		f.released = make(chan struct{})
	}
	released := f.released
	f.mu.Unlock()
	select {
	case <-released:
	case <-r.Context().Done():
	}
}

// spoil answers as next does, but for the faults.
func (f *faults) spoil(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault, ok := f.take(r)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		if fault.Hold {
			f.wait(r)
		}
		for k, v := range fault.Header {
			w.Header()[k] = v
		}
		r.Body = f.spoilBody(r, fault)
		if fault.Lose {
			next.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		if fault.Drain {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		if fault.Status != 0 {
			http.Error(w, http.StatusText(fault.Status), fault.Status)
			return
		}
		if fault.NoMount {
			r = r.Clone(r.Context())
			r.URL.RawQuery = ""
		}
		if fault.NoRange {
			r = r.Clone(r.Context())
			r.Header.Del("Range")
		}
		next.ServeHTTP(&spoilingWriter{ResponseWriter: w, faults: f, fault: fault, request: r}, r)
	})
}

// spoilBody is the request's body as the fault lets it through.
func (f *faults) spoilBody(r *http.Request, fault Fault) io.ReadCloser {
	if fault.CutBody == 0 && fault.StallBody == 0 {
		return r.Body
	}
	return &spoilingReader{ReadCloser: r.Body, faults: f, fault: fault, request: r}
}

// spoilingReader spoils the body of one request. What reads it may be another
// goroutine than the handler's, so a cut closes the connection itself.
type spoilingReader struct {
	io.ReadCloser
	faults  *faults
	fault   Fault
	request *http.Request
	got     int64
}

func (b *spoilingReader) Read(p []byte) (int, error) {
	if at := b.fault.CutBody; at > 0 {
		if b.got >= at {
			if c, ok := b.request.Context().Value(connKey{}).(net.Conn); ok {
				c.Close()
			}
			return 0, io.ErrUnexpectedEOF
		}
		p = p[:min(int64(len(p)), at-b.got)]
	}
	if at := b.fault.StallBody; at > 0 {
		if b.got >= at {
			b.faults.wait(b.request)
			b.fault.StallBody = 0
		} else {
			p = p[:min(int64(len(p)), at-b.got)]
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	return n, err
}

// spoilingWriter spoils the body of one answer.
type spoilingWriter struct {
	http.ResponseWriter
	faults  *faults
	fault   Fault
	request *http.Request
	sent    int64
	begun   bool
}

func (w *spoilingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *spoilingWriter) WriteHeader(status int) {
	if w.begun = true; w.fault.Short > 0 {
		if n, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64); err == nil && n > w.fault.Short {
			w.Header().Set("Content-Length", strconv.FormatInt(w.fault.Short, 10))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *spoilingWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	whole := len(p)
	if at := w.fault.Corrupt - 1 - w.sent; at >= 0 && at < int64(len(p)) {
		p = slices.Clone(p)
		p[at] ^= 0xff
	}
	// What is beyond the end is swallowed: the registry believes it was sent.
	if left := w.fault.Short - w.sent; w.fault.Short > 0 && int64(len(p)) > left {
		p = p[:max(left, 0)]
	}
	if left := w.fault.Cut - w.sent; w.fault.Cut > 0 && int64(len(p)) >= left {
		w.send(p[:max(left, 0)])
		http.NewResponseController(w.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	if left := w.fault.Stall - w.sent; w.fault.Stall > 0 && left >= 0 && int64(len(p)) > left {
		if err := w.send(p[:left]); err != nil {
			return 0, err
		}
		http.NewResponseController(w.ResponseWriter).Flush()
		w.faults.wait(w.request)
		p = p[left:]
		w.fault.Stall = 0
	}
	if err := w.send(p); err != nil {
		return 0, err
	}
	return whole, nil
}

func (w *spoilingWriter) send(p []byte) error {
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	if w.fault.Slow > 0 {
		time.Sleep(time.Duration(float64(n) / float64(w.fault.Slow) * 1e9)) // which is the fault
	}
	return err
}
