package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/mount"
)

// shots are the commands of the picture in README.md, which 'make picture' draws. They
// run in the directory of the demo's repository.
var shots = []string{
	"ls tags",
	"ls tags/v1",
	"cat tags/v1/rootfs/etc/os-release",
	"diff -r tags/v1/rootfs tags/v2/rootfs | head -5",
	"cp -r tags/v1 ../copy/upload/release && cat ../copy/tags/release/digest",
	"cat tags/v9/digest",
	"tail -1 ~/oci/.ocifs/errors.jsonl | jq -r .cause",
}

// session prints the commands of the picture and what they print, as a terminal shows
// them: the mount is ~/oci, the registry localhost:5000.
func session(ctx context.Context, o mount.Options, host string) error {
	dir := filepath.Join(o.Dir, treeName(host), content.DemoRepository)
	_, port, _ := strings.Cut(host, ":")
	written := strings.NewReplacer("127.0.0.1", "localhost", port, "5000", o.Home, "~")
	prompt := func(command string) { fmt.Printf("\x1b[32m$\x1b[0m \x1b[1m%s\x1b[0m\n", command) }
	prompt("ocifs mount ~/oci")
	prompt("cd " + written.Replace(dir))
	for _, command := range shots {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		r, err := mount.Run(ctx, mount.Env(o.Home), "cd "+dir+" && { "+strings.Replace(command, "ls ", "ls -C -w 76 -T 0 ", 1)+"; } 2>&1")
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		if r.Stdout == "" {
			return fmt.Errorf("%s: it printed nothing", command)
		}
		prompt(command)
		fmt.Print(written.Replace(r.Stdout))
	}
	return nil
}
