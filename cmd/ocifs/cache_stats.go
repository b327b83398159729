package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/upload"
)

func cacheStatsCommand() *cobra.Command {
	call := &cacheCall{settings: newSettings()}
	return call.command(&cobra.Command{
		Use:   "stats",
		Short: "Tell what is kept, and who uses it",
		Long: `Tell what the cache holds, which mounts use it, what wasn't pushed of what mounts
that ended had in upload/, and how much its disk has free. Nothing is made or changed.`,
	}, func(ctx context.Context) error {
		if call.dir == nil {
			return call.none()
		}
		s, err := call.dir.Survey(ctx)
		if err != nil {
			return err
		}
		staged, err := upload.Survey(call.dir.Staging())
		if err != nil {
			return err
		}
		if call.asJSON {
			return call.print(struct {
				Exists bool `json:"exists"`
				cache.Survey
				Staged []upload.Stage `json:"staged"`
			}{true, s, staged})
		}
		call.show(s, staged, time.Now())
		return nil
	})
}

// show prints it for people: a line for each thing that there is.
func (call *cacheCall) show(s cache.Survey, staged []upload.Stage, now time.Time) {
	line := func(what string, h cache.Held, text string) {
		if h.Files > 0 {
			fmt.Fprintf(call.out(), "  %-12s %8d %12s  %s\n", what, h.Files, bytesText(h.Bytes), text)
		}
	}
	fmt.Fprintln(call.out(), s.Dir)
	fmt.Fprintf(call.out(), "  %-12s %8d %12s  %s\n", "blobs", s.Blobs.Files, bytesText(s.Blobs.Bytes), usesText(s, now))
	if s.Bound > 0 {
		fmt.Fprintf(call.out(), "  %-12s %8s %12s  of the disk at most\n", "bound", "", bytesText(s.Bound))
	} else {
		fmt.Fprintf(call.out(), "  %-12s can't be read; 'ocifs cache limit SIZE' writes it anew\n", "bound")
	}
	line("downloads", s.Downloads, "under way")
	line("left", s.Left, "of downloads that ended, and are continued when the blob is needed")
	line("temporary", s.Temporary, "being written, or left by a crash")
	line("pointers", s.Pointers, "what tags were last seen to point at")
	line("indexes", s.Indexes, "what is in layers; kept longer than those")
	line("quarantined", s.Quarantined, "damaged blobs that were set aside for a look")
	var uploads, unpushed cache.Held
	for _, st := range staged {
		of := &uploads
		if len(st.Left) > 0 {
			of = &unpushed
		}
		of.Files += st.Files
		of.Bytes += st.Bytes
	}
	line("upload", uploads, "staged by mounts")
	line("unpushed", unpushed, "left by mounts that ended before it was pushed")
	fmt.Fprintf(call.out(), "  %-12s %8s %12s  of %s\n", "disk free", "", bytesText(s.Free), bytesText(s.Disk))
	for _, u := range s.Users {
		name := u.For
		if name == "" {
			name = "a process"
		}
		fmt.Fprintf(call.out(), "  %-12s %s (process %d, for %s)\n", "in use by", name, u.PID, ageText(now.Sub(u.Since)))
	}
	if s.Unclean > 0 {
		fmt.Fprintf(call.out(), "  %s without closing the cache; the next mount hashes the last blobs again, 'ocifs cache verify' all\n",
			plural(s.Unclean, "process ended", "processes ended"))
	}
	call.showUnpushed(staged)
}

// showUnpushed names what wasn't pushed.
func (call *cacheCall) showUnpushed(staged []upload.Stage) {
	for _, st := range staged {
		for _, r := range st.Left {
			if r.Repository == "" {
				fmt.Fprintf(call.out(), "  not pushed: %s\n", r.Error)
				continue
			}
			fmt.Fprintf(call.out(), "  not pushed: %s %s, %s\n", r.Repository, r.Target, r.Error)
		}
	}
}

// usesText tells when the blobs were used.
func usesText(s cache.Survey, now time.Time) string {
	if s.Blobs.Files == 0 {
		return ""
	}
	last := "just now"
	if age := now.Sub(s.NewestUse); age >= 2*time.Minute { // uses are told to the minute
		last = ageText(age) + " ago"
	}
	return fmt.Sprintf("used last %s; longest not used for %s", last, ageText(now.Sub(s.OldestUse)))
}

// ageText is a time as people tell it: 5m, 3h, 12d.
func ageText(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
