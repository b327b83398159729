package registries

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Debian starts Debian's docker-registry (distribution 2.8) as a process of its
// own, in o.Dir. It lists tags unsorted and ignores page sizes. With Users it asks
// for Basic credentials.
func Debian(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, fmt.Errorf("docker-registry needs a directory")
	}
	// A free port for the registry itself: taken, given back, and passed on.
	free, err := loopback()
	if err != nil {
		return nil, err
	}
	inner := free.Addr().String()
	free.Close()

	config := fmt.Sprintf(`version: 0.1
log:
  level: error
  accesslog: {disabled: true}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
  maintenance:
    uploadpurging: {enabled: false}
http:
  addr: %q
  secret: one process, one secret
`, filepath.Join(o.Dir, "storage"), inner)
	if o.Users != nil {
		file := filepath.Join(o.Dir, "htpasswd")
		if err := writeHtpasswd(file, o.Users); err != nil {
			return nil, err
		}
		config += fmt.Sprintf("auth:\n  htpasswd: {realm: ocifs, path: %q}\n", file)
	}
	configFile := filepath.Join(o.Dir, "config.yml")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("configuring docker-registry: %w", err)
	}

	output := new(bytes.Buffer)
	cmd := exec.CommandContext(ctx, "docker-registry", "serve", configFile)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting docker-registry (a Debian package): %w", err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); cmd.Wait() }()
	stop := func() error {
		cmd.Process.Kill()
		<-exited
		return nil
	}
	starting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := waitFor(starting, inner); err != nil {
		stop()
		return nil, fmt.Errorf("%w; it said: %s", err, output)
	}

	l, err := loopback()
	if err != nil {
		stop()
		return nil, err
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: inner})
			r.Out.Host = r.In.Host // the registry's Locations lead back to the front
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	s := serve(l, o.paged(proxy))
	s.stop = append(s.stop, stop)
	return s, nil
}

func writeHtpasswd(file string, users map[string]string) error {
	var b strings.Builder
	for user, password := range users {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return fmt.Errorf("hashing the password of %s: %w", user, err)
		}
		fmt.Fprintf(&b, "%s:%s\n", user, hash)
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}
