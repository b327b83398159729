package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version, commit and date are stamped by the Makefile; "": Go's build information tells them.
// The date is the commit's, in RFC 3339, so that a build can be reproduced.
var version, commit, date string

// build tells from what this program was made.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // in full; "": nobody knows
	Date     string `json:"date"`     // of the commit; "": nobody knows
	Modified bool   `json:"modified"` // files differed from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild describes this program.
func thisBuild() build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return buildOf(info)
}

// buildOf describes the program of a build information. What the Makefile stamped goes before.
func buildOf(info *debug.BuildInfo) build {
	b := build{Version: version, Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if b.Version == "" {
		b.Version = cmp.Or(strings.Trim(info.Main.Version, "()"), "devel")
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			if b.Commit == "" {
				b.Commit = s.Value
			}
		case "vcs.time":
			if b.Date == "" {
				b.Date = s.Value
			}
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	b.Modified = b.Modified || strings.HasSuffix(version, "-dirty") // git describe --dirty, by the Makefile
	return b
}

// String is the description for people: a line for each thing that is known.
func (b build) String() string {
	lines := []string{"ocifs " + b.Version}
	if b.Commit != "" {
		line := "commit " + b.Commit
		if b.Modified {
			line += ", with changes"
		}
		lines = append(lines, line)
	}
	if b.Date != "" {
		lines = append(lines, "date   "+b.Date)
	}
	return strings.Join(append(lines, "Go     "+strings.TrimPrefix(b.Go, "go")+" "+b.Platform), "\n")
}

func versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit that it was made of, and Go's version",
		Args:  arguments(noArguments),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !asJSON {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), thisBuild())
				return err
			}
			e := json.NewEncoder(cmd.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(thisBuild())
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// versionString is the version alone.
func versionString() string { return thisBuild().Version }
