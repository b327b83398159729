package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
)

// unpushedTimeout is how long a mount has to tell its unpushed records: a mount that hangs
// is unmounted all the same.
const unpushedTimeout = 2 * time.Second

// unpushed lists the pushes of a mount that failed or wait; nil: the mount doesn't tell.
func unpushed(mountpoint string) []upload.Record {
	told := make(chan []upload.Record, 1)
	go func() { // the end of the program ends it, where the mount hangs
		var all, left []upload.Record
		b, err := os.ReadFile(filepath.Join(mountpoint, ".ocifs", "uploads.json"))
		if err == nil && json.Unmarshal(b, &all) == nil {
			for _, r := range all {
				if r.State == upload.Waiting || r.State == upload.Failed {
					left = append(left, r)
				}
			}
		}
		told <- left
	}()
	select {
	case left := <-told:
		return left
	case <-time.After(unpushedTimeout):
		return nil
	}
}

// tellUnpushed prints the pushes that an unmounted mount left undone.
func tellUnpushed(w io.Writer, left []upload.Record) {
	for _, r := range left {
		fmt.Fprintf(w, "ocifs: not pushed: %s %s (%s): %s\n", r.Repository, r.Target, r.State, r.Error)
	}
	if len(left) > 0 {
		fmt.Fprintln(w, "ocifs: it is kept beside the cache; .ocifs/uploads.json of the next mount says where")
	}
}
