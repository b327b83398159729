package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
)

// unpushedTimeout is how long a mount has to tell its unpushed records: a mount that hangs
// is unmounted all the same.
const unpushedTimeout = 2 * time.Second

// deferredFor is how long a push may take that comes a moment after its program ended, for
// its result to be known before the mount is gone.
const deferredFor = 3 * time.Second

// unpushed lists the pushes of a mount that failed, wait or are under way; nil: the mount
// doesn't tell.
func unpushed(mountpoint string) []upload.Record {
	told := make(chan []upload.Record, 1)
	go func() { // the end of the program ends it, where the mount hangs
		pushing := func(r upload.Record) bool { return r.State == upload.Pushing }
		left := unfinished(mountpoint)
		for began := time.Now(); slices.ContainsFunc(left, pushing) && time.Since(began) < deferredFor; left = unfinished(mountpoint) {
			time.Sleep(100 * time.Millisecond)
		}
		told <- left
	}()
	select {
	case left := <-told:
		return left
	case <-time.After(unpushedTimeout + deferredFor):
		return nil
	}
}

// unfinished lists the pushes in uploads.json that aren't done.
func unfinished(mountpoint string) (left []upload.Record) {
	var all []upload.Record
	b, err := os.ReadFile(filepath.Join(mountpoint, ".ocifs", "uploads.json"))
	if err != nil || json.Unmarshal(b, &all) != nil {
		return nil
	}
	for _, r := range all {
		switch r.State {
		case upload.Waiting, upload.Failed, upload.Pushing:
			left = append(left, r)
		}
	}
	return left
}

// tellUnpushed prints the pushes that an unmounted mount left undone.
func tellUnpushed(w io.Writer, left []upload.Record) {
	kept := false
	for _, r := range left {
		if r.State == upload.Pushing {
			fmt.Fprintf(w, "ocifs: still being pushed: %s %s: the daemon goes on with it, and its log tells what comes of that\n", r.Repository, r.Target)
			continue
		}
		fmt.Fprintf(w, "ocifs: not pushed: %s %s (%s): %s\n", r.Repository, r.Target, r.State, r.Error)
		kept = true
	}
	if kept {
		fmt.Fprintln(w, "ocifs: it is kept beside the cache; .ocifs/uploads.json of the next mount says where")
	}
}
