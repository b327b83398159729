package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ocifs/ocifs/integration/internal/network"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// slowRate is what one connection to a CDN often carries, in bytes a second.
const slowRate = 40e6

// addresses are where the process of the registry listens, as host:port.
type addresses struct {
	Registry string // distribution
	Slow     string // the same, at slowRate a connection
	Tags     string // a registry of manyTags tags
	Push     string // distribution that keeps what is pushed in pushDir
	Control  string // reset and counts
}

// cost is what was asked of the registry.
type cost struct {
	Requests registries.Counts `json:"requests"`
	Served   int64             `json:"served"` // bytes of bodies, to clients
	Taken    int64             `json:"taken"`  // from clients
}

// parts is the kind of requests that go on with a blob of which an earlier request brought
// the beginning.
const parts = "GET part"

func (c cost) count() (n int) {
	for _, k := range c.Requests {
		n += k
	}
	return n
}

func (c cost) bytes() int64 { return c.Served + c.Taken }

// most is the greater of two costs of the same thing.
func (c cost) most(d cost) cost {
	if d.count() > c.count() || d.count() == c.count() && d.bytes() > c.bytes() {
		return d
	}
	return c
}

// serve is the process of the registries, which keep their content in dir, and of pushes in
// pushDir. It says on standard output where they listen, and ends when standard input does.
func serve(ctx context.Context, dir, pushDir string) (err error) {
	registry, err := registries.Distribution(ctx, registries.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.Close()) }()
	push, err := registries.Distribution(ctx, registries.Options{Dir: pushDir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, push.Close()) }()
	tags, err := registries.Tagged(tagNames(), tagPage)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tags.Close()) }()
	slow, err := network.NewSlow(registry.Host, slowRate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, slow.Close()) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening for the control of the registry: %w", err)
	}
	control := &http.Server{Handler: controls(registry, tags, push), ReadHeaderTimeout: time.Minute}
	go control.Serve(l) // ends with control.Close
	defer func() { err = errors.Join(err, control.Close()) }()
	at := addresses{Registry: registry.Host, Slow: slow.Host, Tags: tags.Host, Push: push.Host, Control: l.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(at); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// controls answers what the bench asks of the registry's process.
func controls(counted ...*registries.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reset", func(http.ResponseWriter, *http.Request) {
		for _, s := range counted {
			s.Forget()
		}
	})
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(settled(counted))
	})
	return mux
}

// settled gives what was asked so far. A client has the last byte of an answer a moment
// before it is counted, so this waits until nothing moves.
func settled(counted []*registries.Server) cost {
	const moment = 20 * time.Millisecond
	c := sum(counted)
	for range 50 {
		time.Sleep(moment)
		now := sum(counted)
		if now.bytes() == c.bytes() && now.count() == c.count() {
			break
		}
		c = now
	}
	return c
}

func sum(counted []*registries.Server) cost {
	c := cost{Requests: registries.Counts{}}
	for _, s := range counted {
		for _, q := range s.Requests() {
			kind := q.Method + " " + string(q.Kind)
			if q.Kind == registries.Blob && q.Range != "" && !strings.HasPrefix(q.Range, "bytes=0-") {
				kind = parts
			}
			c.Requests[kind]++
			c.Served += q.Bytes
			c.Taken += q.Sent
		}
	}
	return c
}

// server is the registry's process, as its parent sees it.
type server struct {
	addresses
	cmd *exec.Cmd
	in  io.Closer
}

// startServer starts serve in a process of its own.
func startServer(exe, dir, pushDir string) (*server, error) {
	s := &server{cmd: exec.Command(exe, "serve", dir, pushDir)}
	s.cmd.Stderr = os.Stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it outlives a Ctrl-C until the mounts are gone
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the registry: %w", err)
	}
	s.in = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the registry: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the registry: %w", err)
	}
	if err := json.NewDecoder(bufio.NewReader(out)).Decode(&s.addresses); err != nil {
		return nil, errors.Join(fmt.Errorf("the registry doesn't say where it is: %w", err), s.Close())
	}
	return s, nil
}

// Close ends the process and waits for it.
func (s *server) Close() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }

// reset has the registry forget what was asked so far.
func (s *server) reset(ctx context.Context) error {
	return s.control(ctx, http.MethodPost, "/reset", nil)
}

// counts gives what was asked since then.
func (s *server) counts(ctx context.Context) (c cost, err error) {
	return c, s.control(ctx, http.MethodGet, "/counts", &c)
}

func (s *server) control(ctx context.Context, method, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.Control+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking the registry's process: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the registry's process for %s: %s", path, resp.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
