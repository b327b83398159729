package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"
)

// serviceManager is the socket on which systemd hears how its service is, sd_notify(3): a path,
// or a name in the abstract namespace with a leading @. "" is nobody.
type serviceManager string

// takeServiceManager takes the socket out of the environment: no program that ocifs starts, such as
// a credential helper, may speak for it. A daemon has no service manager, as it isn't the
// process that systemd started.
func takeServiceManager(foreground bool) serviceManager {
	socket := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET")
	if !foreground {
		return ""
	}
	return serviceManager(socket)
}

// ready says that the mount answers.
func (m serviceManager) ready(source, mountpoint string, log *slog.Logger) {
	if source == "" {
		source = "every registry"
	}
	m.tell("READY=1", "serving "+source+" on "+mountpoint, log)
}

// stopping says that no new program comes in, and that work under way ends.
func (m serviceManager) stopping(log *slog.Logger) {
	m.tell("STOPPING=1", "unmounting; pushes under way end first", log)
}

// tell sends one state with a text for `systemctl status`.
func (m serviceManager) tell(state, status string, log *slog.Logger) {
	if m == "" {
		return
	}
	text := state + "\nSTATUS=" + strings.ReplaceAll(status, "\n", " ") + "\n"
	if err := m.send(text); err != nil {
		log.Warn("systemd isn't told: "+state, "socket", string(m), "cause", err)
	}
}

func (m serviceManager) send(text string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: string(m), Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
