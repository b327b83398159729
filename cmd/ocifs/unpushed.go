package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ocifs/ocifs/fs/upload"
)

// deferredFor is how long a push may take that comes a moment after its program ended, for
// its result to be known before the mount is gone.
const deferredFor = 3 * time.Second

// unpushed lists the pushes of a mount that failed, wait or are under way. A mount that gives no answer
// has none that are known, and is unmounted all the same. The end of ctx ends the wait.
func unpushed(ctx context.Context, m mounted) (left []upload.Record) {
	var a asking
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		left = a.one(ctx, m).Uploads
		left = slices.DeleteFunc(left, func(r upload.Record) bool { return r.State == upload.Left })
		pushing := slices.ContainsFunc(left, func(r upload.Record) bool { return r.State == upload.Pushing })
		if !pushing || time.Since(began) > deferredFor || ctx.Err() != nil {
			return left
		}
	}
}

// tellUnpushed prints the pushes that an unmounted mount left undone.
func tellUnpushed(w io.Writer, left []upload.Record) {
	kept := false
	for _, r := range left {
		if r.State == upload.Pushing {
			fmt.Fprintf(w, "ocifs: still being pushed: %s %s: the daemon goes on with it, and its log tells what comes of that\n", printable(r.Repository), printable(r.Target))
			continue
		}
		fmt.Fprintf(w, "ocifs: not pushed: %s %s (%s): %s\n", printable(r.Repository), printable(r.Target), r.State, printable(r.Error))
		kept = kept || !r.Broken
	}
	if kept {
		fmt.Fprintln(w, "ocifs: it is kept beside the cache; .ocifs/uploads.json of the next mount says where")
	}
}
