package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// systemd hears that the mount answers and that it ends, on a socket with a path and on one in
// the abstract namespace.
func TestSystemdIsTold(t *testing.T) {
	var log bytes.Buffer
	for _, socket := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@ocifs-test-%d", os.Getpid())} {
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		t.Setenv("NOTIFY_SOCKET", socket)
		m := takeServiceManager(true)
		if v, ok := os.LookupEnv("NOTIFY_SOCKET"); ok {
			t.Errorf("programs that are started get NOTIFY_SOCKET=%s", v)
		}
		for _, told := range []struct {
			tell func()
			want string
		}{
			{func() { m.ready("ghcr.io", "/mnt/ghcr", slog.New(slog.NewTextHandler(&log, nil))) }, "READY=1\nSTATUS=serving ghcr.io on /mnt/ghcr\n"},
			{func() { m.ready("", "/mnt/a\nb", slog.New(slog.NewTextHandler(&log, nil))) }, "READY=1\nSTATUS=serving every registry on /mnt/a b\n"},
			{func() { m.stopping(slog.New(slog.NewTextHandler(&log, nil))) }, "STOPPING=1\nSTATUS=unmounting; pushes under way end first\n"},
		} {
			told.tell()
			b := make([]byte, 1000)
			if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(b); err != nil || string(b[:n]) != told.want {
				t.Errorf("%s hears %q, %v; want %q", socket, b[:n], err, told.want)
			}
		}
	}
	if log.Len() > 0 {
		t.Errorf("the log says %s", &log)
	}
}

// A daemon isn't the process that systemd started: it says nothing, and what it starts can't
// either. Where nobody listens, the log says so, and nothing waits.
func TestNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	if m := takeServiceManager(false); m != "" || os.Getenv("NOTIFY_SOCKET") != "" {
		t.Errorf("a daemon tells %q", m)
	}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	takeServiceManager(true).ready("", "/mnt", log)
	if b.Len() > 0 {
		t.Errorf("without a socket the log says %s", &b)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	takeServiceManager(true).stopping(log)
	if !strings.Contains(b.String(), "STOPPING=1") || !strings.Contains(b.String(), "gone") {
		t.Errorf("the log says %q", b.String())
	}
}
