package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/registry/auth"
)

// completeFor is how long hosts are looked for when somebody presses Tab. A file about them may be
// on a file system that hangs.
const completeFor = time.Second

// completions complete the arguments of the commands of these names. They ask no registry, run no
// credential helper and touch no mount. Commands that aren't here have no arguments, or files.
var completions = map[string]cobra.CompletionFunc{
	"mount":   completeSource,
	"doctor":  completeHost,
	"unmount": completeMounts,
	"status":  completeMounts,
}

// addCompletions gives the commands below c their completions.
func addCompletions(c *cobra.Command) {
	for _, sub := range c.Commands() {
		if complete, ok := completions[sub.Name()]; ok {
			sub.ValidArgsFunction = complete
		}
	}
}

// completeValue makes the value of a setting's flag complete.
func completeValue(c *cobra.Command, flag string, v value) error {
	complete := cobra.NoFileCompletions
	switch v := v.(type) {
	case interface{ words() []string }:
		complete = cobra.FixedCompletions(v.words(), cobra.ShellCompDirectiveNoFileComp)
	case *platform:
		complete = cobra.FixedCompletions(commonPlatforms, cobra.ShellCompDirectiveNoFileComp)
	}
	switch v.Type() {
	case "DIR":
		return c.MarkFlagDirname(flag)
	case "FILE":
		return nil // shells complete files
	case "HOST[:PORT]":
		complete = func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeHost(c, nil, typed)
		}
	}
	return c.RegisterFlagCompletionFunc(flag, complete)
}

// commonPlatforms are those that most images of Docker Hub's library have, in 2026.
var commonPlatforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/s390x", "linux/riscv64", "windows/amd64"}

// completeSource completes SOURCE and MOUNTPOINT: the last argument may be a directory, the first
// of two is a host. What looks like a path, or like no host that is known, is a directory.
func completeSource(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if len(args) == 1 || strings.ContainsAny(typed[:min(1, len(typed))], "/.~") {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	hosts := knownHosts(c, typed)
	if len(hosts) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return hosts, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeHost completes HOST[/REPOSITORY].
func completeHost(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return knownHosts(c, typed), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
}

// completeMounts completes mountpoints of ocifs that aren't among the arguments yet.
func completeMounts(_ *cobra.Command, args []string, typed string) (paths []cobra.Completion, _ cobra.ShellCompDirective) {
	for _, m := range ocifsMounts() {
		if strings.HasPrefix(m.mountpoint, typed) && !slices.Contains(args, m.mountpoint) {
			paths = append(paths, m.mountpoint)
		}
	}
	return paths, cobra.ShellCompDirectiveNoFileComp
}

// knownHosts lists the hosts that begin with a text: those of credentials, of files about
// registries, and of --plain-http. It gives up after a moment.
func knownHosts(c *cobra.Command, typed string) []cobra.Completion {
	all, _ := answerWithin(context.Background(), completeFor, func() ([]string, error) { return configuredHosts(c), nil })
	return slices.DeleteFunc(all, func(host string) bool { return !strings.HasPrefix(host, typed) })
}

// configuredHosts lists the hosts that the user's files and the settings name.
func configuredHosts(c *cobra.Command) []string {
	s := newSettings()
	_ = s.load(c.Flags()) // a mistake in a file is told by the command itself
	if f := c.Flags().Lookup("hosts-dir"); f != nil && f.Changed {
		s.hostsDirs = *f.Value.(*list).values
	}
	var mountpoints []string
	for _, m := range ocifsMounts() {
		mountpoints = append(mountpoints, m.mountpoint)
	}
	all := map[string]bool{}
	for _, hosts := range [][]string{auth.Hosts(auth.Default(nil, mountpoints...)), s.finder(nil, mountpoints...).Hosts(), s.plainHTTP} {
		for _, h := range hosts {
			all[h] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}
