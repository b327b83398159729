package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrs gives the extended attributes of all files below a directory, a line each.
func xattrs(dir string) (string, error) {
	var out strings.Builder
	names, value := make([]byte, 64<<10), make([]byte, 64<<10)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		n, err := unix.Llistxattr(path, names)
		if err != nil {
			return fmt.Errorf("the extended attributes of %s: %w", path, err)
		}
		for attribute := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
			if attribute == "" {
				continue
			}
			n, err := unix.Lgetxattr(path, attribute, value)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", attribute, path, err)
			}
			fmt.Fprintf(&out, "%s\t%s\t%x\n", rel, attribute, value[:n])
		}
		return nil
	})
	return out.String(), err
}
