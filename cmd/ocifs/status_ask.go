package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/upload"
)

const (
	// askFor is how long a mount has to answer. Its control files need no registry.
	askFor = 3 * time.Second
	// startFor is how long a child may take until it asks, on a machine that is busy.
	startFor = 15 * time.Second
)

// mountState is what is told of a mount. Its JSON is an element of "mounts" of 'ocifs status --json'.
type mountState struct {
	Mountpoint string          `json:"mountpoint"`
	Source     string          `json:"source"`
	Alive      bool            `json:"alive"`
	Transfers  []transferState `json:"transfers"`
	// Uploads are the pushes that aren't done: under way, waiting, failed or left.
	Uploads []upload.Record `json:"uploads"`
	Cache   struct {
		Used  int64 `json:"used_bytes"`
		Limit int64 `json:"limit_bytes"`
	} `json:"cache"`
	// Errors are the last failures, the newest last. One that doesn't answer has one that says why.
	Errors []failure `json:"errors"`

	notOurs bool // another user's, who lets nobody look into it
}

// transferState is a transfer under way: an element of .ocifs/transfers.json.
type transferState struct {
	Digest string `json:"digest"`
	Kind   string `json:"kind"` // "download", "unpack", "check" or "upload"
	Done   int64  `json:"done_bytes"`
	Total  int64  `json:"total_bytes"` // -1: not known
}

// failure is a line of .ocifs/errors.jsonl.
type failure struct {
	Time  time.Time `json:"time"`
	Path  string    `json:"path"`
	Op    string    `json:"op"`
	Errno string    `json:"errno"`
	Cause string    `json:"cause"`
	Hint  string    `json:"hint"`
}

// lastErrors is how many failures are told: what a person reads at once. errors.jsonl has more.
const lastErrors = 5

// why says why a mount doesn't answer.
func (m mountState) why() string {
	if len(m.Errors) == 0 {
		return ""
	}
	return m.Errors[0].Cause
}

// silentState is the state of a mount that doesn't answer.
func silentState(m mounted, errno, cause, hint string) mountState {
	return mountState{
		Mountpoint: m.mountpoint, Source: m.source, Transfers: []transferState{}, Uploads: []upload.Record{},
		Errors: []failure{{Time: time.Now().UTC().Truncate(time.Millisecond), Op: "status", Errno: errno, Cause: cause, Hint: hint}},
	}
}

// asking asks mounts from child processes, one for each question. A thread that waits for a mount that
// hangs may be unkillable, and would keep its process from ending: that is the child, and not this
// process. A mount whose child hasn't ended isn't asked again. It is safe for concurrent use.
type asking struct {
	mu      sync.Mutex           // guards pending
	pending map[string]time.Time // since when a child waits, by mountpoint
}

// all asks mounts side by side.
func (a *asking) all(ctx context.Context, mounts []mounted) []mountState {
	states := make([]mountState, len(mounts))
	var asked sync.WaitGroup
	for k, m := range mounts {
		asked.Go(func() { states[k] = a.one(ctx, m) })
	}
	asked.Wait()
	return states
}

// begin notes that a mount is asked. If a question is pending, since says since when.
func (a *asking) begin(mountpoint string) (since time.Time, pending bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if since, pending = a.pending[mountpoint]; pending {
		return since, true
	}
	if a.pending == nil {
		a.pending = map[string]time.Time{}
	}
	a.pending[mountpoint] = time.Now()
	return time.Time{}, false
}

func (a *asking) end(mountpoint string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pending, mountpoint)
}

// answer is what a child prints.
type answer struct {
	mountState
	Errno syscall.Errno // why it couldn't be asked; 0: it was
	Cause string
}

// one asks one mount.
func (a *asking) one(ctx context.Context, m mounted) mountState {
	if since, pending := a.begin(m.mountpoint); pending {
		return hangs(m, time.Since(since))
	}
	got, err := askInChild(ctx, func() { a.end(m.mountpoint) }, m.mountpoint)
	switch {
	case errors.Is(err, errSilent):
		return hangs(m, askFor)
	case err != nil:
		return silentState(m, "EIO", err.Error(), "")
	}
	name := unix.ErrnoName(got.Errno)
	switch got.Errno {
	case 0:
		if got.Source == "" {
			got.Source = m.source
		}
		return got.mountState
	case syscall.ENOTCONN, syscall.ECONNABORTED:
		return silentState(m, name, "it is dead: its daemon has ended", "take it away with: ocifs unmount "+shellWord(m.mountpoint))
	case syscall.EACCES, syscall.EPERM:
		s := silentState(m, name, "it is another user's, who doesn't let others look into it", "--allow-other does, when it is mounted")
		s.notOurs = true
		return s
	}
	return silentState(m, name, got.Cause, "")
}

// alive asks what is mounted on path for an answer, and waits some seconds at most: the error is
// errSilent then. It is statfs that asks: attributes come from the kernel's cache, which outlives the
// daemon that filled it.
func alive(ctx context.Context, path string) error {
	got, err := askInChild(ctx, func() {}, path, "--"+statfsFlag)
	if err == nil && got.Errno != 0 {
		err = got.Errno
	}
	return err
}

// askInChild has a child process ask a mount. Without an answer in time, or before the end of ctx, the
// error is errSilent: the child is killed, and left if that doesn't end it. ended is called when the
// child has ended.
func askInChild(ctx context.Context, ended func(), args ...string) (answer, error) {
	self, err := os.Executable()
	if err != nil {
		ended()
		return answer{}, err
	}
	child := exec.Command(self, append([]string{stateCommandName}, args...)...)
	r, err := startPiped(child)
	if err != nil {
		ended()
		return answer{}, err
	}
	begun, said := make(chan struct{}), make(chan []byte, 1)
	go func() {
		defer ended()
		defer r.Close()
		_, _ = r.Read(make([]byte, len(stateBegins)))
		close(begun)
		out, _ := io.ReadAll(r)
		_ = child.Wait() // what it said tells how it ended
		said <- out
	}()
	out, answered := await(ctx, begun, said)
	if !answered {
		_ = child.Process.Kill() // it may be unkillable; it is left then
		return answer{}, errSilent
	}
	var got answer
	if err := json.Unmarshal(out, &got); err != nil {
		return answer{}, fmt.Errorf("its answer isn't understood: %w", err)
	}
	return got, nil
}

// startPiped starts a child, and gives what it prints.
func startPiped(child *exec.Cmd) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	child.Stdout = w
	if err := child.Start(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// await waits for what is said, for some time after it has begun.
func await(ctx context.Context, begun <-chan struct{}, said <-chan []byte) (out []byte, ok bool) {
	late := time.NewTimer(startFor)
	defer late.Stop()
	for {
		select {
		case out = <-said:
			return out, true
		case <-begun:
			begun = nil
			late.Reset(askFor)
		case <-late.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

// hangs is the state of a mount that gives no answer.
func hangs(m mounted, since time.Duration) mountState {
	return silentState(m, "ETIMEDOUT", fmt.Sprintf("it hangs: no answer for %s", max(since, time.Second).Round(time.Second)),
		"its log says what it waits for; take it away with: ocifs unmount --lazy "+shellWord(m.mountpoint))
}

// stateCommandName is the command that a child runs. It prints stateBegins before it asks. With
// statfsFlag it asks for nothing but an answer.
const (
	stateCommandName = "mount-state"
	stateBegins      = "\n"
	statfsFlag       = "statfs"
)

// stateCommand asks one mount, for as long as that takes.
func stateCommand() *cobra.Command {
	var statfs bool
	c := &cobra.Command{
		Use:    stateCommandName + " MOUNTPOINT",
		Hidden: true,
		Args:   arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := io.WriteString(cmd.OutOrStdout(), stateBegins); err != nil {
				return err
			}
			got := answer{}
			var err error
			if statfs {
				err = unix.Statfs(args[0], &unix.Statfs_t{})
			} else {
				got.mountState, err = readState(args[0])
			}
			if err != nil {
				got.Errno = syscall.EIO
				errors.As(err, &got.Errno)
				got.Cause = err.Error()
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(got)
		},
	}
	c.Flags().BoolVar(&statfs, statfsFlag, false, "ask for an answer alone")
	return c
}

// readState reads the control files of a mount.
func readState(mountpoint string) (mountState, error) {
	s := mountState{Mountpoint: mountpoint, Alive: true, Transfers: []transferState{}, Uploads: []upload.Record{}, Errors: []failure{}}
	file := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(mountpoint, ".ocifs", name)) }
	read := func(name string, to any) error {
		b, err := file(name)
		if err == nil {
			err = json.Unmarshal(b, to)
		}
		return err
	}
	var config struct {
		Source string `json:"source"`
	}
	var stats struct {
		Cache cache.Stats `json:"cache"`
	}
	err := errors.Join(read("config.json", &config), read("stats.json", &stats), read("transfers.json", &s.Transfers), read("uploads.json", &s.Uploads))
	if err != nil {
		return mountState{}, err
	}
	s.Source = config.Source
	c := stats.Cache
	s.Cache.Used, s.Cache.Limit = c.Bytes+c.Partial+c.Pointers+c.IndexBytes+c.Aside, c.Limit
	s.Uploads = slices.DeleteFunc(s.Uploads, func(r upload.Record) bool { return r.State == upload.Pushed })
	lines, err := file("errors.jsonl")
	if err != nil {
		return mountState{}, err
	}
	all := strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")
	for _, line := range all[max(0, len(all)-lastErrors):] {
		var f failure
		if json.Unmarshal([]byte(line), &f) == nil {
			s.Errors = append(s.Errors, f)
		}
	}
	return s, nil
}

// findMount gives the mount on a directory. Nothing in a mount is looked at. A directory elsewhere has some
// seconds to answer.
func findMount(ctx context.Context, there []mounted, dir string) (mounted, error) {
	path, err := answerWithin(ctx, askFor, func() (string, error) {
		path, err := mountpointPath(dir)
		if _, inside := mountAround(path); err == nil && !inside && !isOurs(path) {
			_, err = os.Lstat(path)
		}
		return path, err
	})
	if errors.Is(err, errSilent) || ctx.Err() != nil {
		return mounted{mountpoint: dir}, errors.New("no ocifs is mounted there, and the directory doesn't answer")
	}
	if k := slices.IndexFunc(there, func(m mounted) bool { return m.mountpoint == path }); k >= 0 {
		return there[k], nil
	}
	foreign := foreignMounts()
	if k := slices.IndexFunc(foreign, func(m mounted) bool { return m.mountpoint == path }); k >= 0 {
		return foreign[k], nil // it is asked
	}
	if errors.Is(err, fs.ErrNotExist) {
		return mounted{mountpoint: path}, errors.New("it doesn't exist")
	}
	return mounted{mountpoint: path}, errors.New("no ocifs is mounted there")
}
