package auth

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// settled is how old a file's time must be before that and its size are trusted to
// tell of each change: clocks of file systems are coarse.
const settled = 2 * time.Second

// configFile is a file that is read again when it changes.
type configFile struct {
	path   string
	within []string // where it must not lead

	mu      sync.Mutex
	stat    os.FileInfo // nil: wasn't there
	readAt  time.Time
	sum     [sha256.Size]byte // of its bytes; zero: none
	config  config
	version uint64 // counts changes
	warned  bool   // that it can't be read
}

// load gives what the file says now, and how often that has changed. A file that
// isn't there says nothing.
func (f *configFile) load(log *slog.Logger) (config, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if leadsInto(f.path, f.within) {
		if !f.warned {
			log.Warn("credentials not read: the file is in the mount itself", "file", f.path)
		}
		f.warned, f.stat = true, nil
		f.says(nil, log)
		return f.config, f.version
	}
	st, err := os.Stat(f.path)
	if err != nil {
		f.stat = nil
		f.says(nil, log)
		return f.config, f.version
	}
	if f.stat != nil && os.SameFile(st, f.stat) && st.ModTime().Equal(f.stat.ModTime()) && st.Size() == f.stat.Size() &&
		f.readAt.Sub(st.ModTime()) > settled {
		return f.config, f.version
	}
	readAt := time.Now()
	b, err := os.ReadFile(f.path)
	f.stat, f.readAt = st, readAt
	if err != nil {
		f.stat = nil // what keeps it from being read needn't show in its time
		if !f.warned && !errors.Is(err, fs.ErrNotExist) {
			log.Warn("credentials not read: going on without them", "file", f.path, "cause", err)
			f.warned = true
		}
		b = nil
	} else {
		f.warned = false
	}
	f.says(b, log)
	return f.config, f.version
}

// says takes what the file says, where it says something new. Its caller holds mu.
func (f *configFile) says(b []byte, log *slog.Logger) {
	var sum [sha256.Size]byte
	if len(b) > 0 {
		sum = sha256.Sum256(b)
	}
	if sum == f.sum {
		return
	}
	f.sum, f.config = sum, config{}
	f.version++
	if len(b) == 0 {
		return
	}
	if err := json.Unmarshal(b, &f.config); err != nil {
		f.config = config{}
		log.Warn("credentials not read: going on without them", "file", f.path, "cause", "it isn't JSON of docker's form")
	}
}
