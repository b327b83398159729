package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// A mount helper is the program that mount(8) runs for a type of file system that the kernel
// doesn't know: /sbin/mount.ocifs for "mount -t ocifs" and fstab's third field, and
// /sbin/mount.fuse.ocifs for the type as the kernel lists it. Both are symlinks to ocifs.

// helperNames are the names under which ocifs is a mount helper.
var helperNames = []string{"mount.ocifs", "mount.fuse.ocifs"}

// isMountHelper says whether a process with that argv[0] is a mount helper.
func isMountHelper(argv0 string) bool { return slices.Contains(helperNames, filepath.Base(argv0)) }

// Exit codes of a mount helper: mount(8), "EXIT STATUS".
const (
	exitUsage       = 1  // the options, SPEC, or a permission
	exitSystem      = 2  // no process could be made
	exitInterrupted = 8  // SIGINT or SIGTERM
	exitFailed      = 32 // any other failure
)

// helperExit gives the exit code of a mount helper for what came of its call.
func helperExit(err error) int {
	daemon := daemonError{}
	switch {
	case err == nil:
		return 0
	case errors.As(err, &daemon):
		return daemon.code
	case errors.As(err, new(interruptedError)):
		return exitInterrupted
	case errors.As(err, new(noProcess)):
		return exitSystem
	case errors.As(err, new(usageError)), errors.Is(err, os.ErrPermission):
		return exitUsage
	}
	return exitFailed
}

// mountHelper mounts as mount(8) asks for, and gives the exit code. name is argv[0].
func mountHelper(ctx context.Context, name string, args []string) int {
	h, err := readHelperCall(args)
	switch {
	case err != nil:
		err = usageError{fmt.Errorf("%w; usage: %s %s", err, filepath.Base(name), helperUsage)}
	case h.help:
		fmt.Printf("%s %s\n%s", filepath.Base(name), helperUsage, helperHelp)
	case h.version:
		fmt.Println("ocifs", versionString())
	default:
		err = h.run(ctx, os.Stderr)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(name), err)
	}
	return helperExit(err)
}

const (
	helperUsage = "SPEC DIR [-s] [-f] [-n] [-v] [-o OPTIONS] [-t TYPE]"
	helperHelp  = `
mount(8) runs this for "mount -t ocifs SPEC DIR" and for fstab. SPEC is ocifs, for every
registry, or oci://HOST, or oci://HOST/REPOSITORY. OPTIONS are separated by commas, and
are the flags of 'ocifs mount' without dashes: ro,allow_other,cache_dir=/var/cache/ocifs.

  -s  pass over unknown options
  -f  check everything, mount nothing
  -n  nothing: for mount(8)
  -v  print the equal 'ocifs mount' command
  -t  nothing: for mount(8)
`
)

// helperCall is the command line of a mount helper.
type helperCall struct {
	spec, dir string
	options   []string // the arguments of -o
	sloppy    bool     // -s: unknown options are passed over
	fake      bool     // -f: everything is checked, and nothing mounted
	verbose   bool     // -v
	help      bool     // -h
	version   bool     // -V
}

// readHelperCall reads a command line as getopt(3) does: flags may stand together, behind the
// arguments, and right before their values.
func readHelperCall(args []string) (h helperCall, err error) {
	var names []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			names = append(names, args...)
			args = nil
			continue
		case arg == "--help":
			arg = "-h"
		case arg == "--version":
			arg = "-V"
		case len(arg) < 2 || arg[0] != '-':
			names = append(names, arg)
			continue
		}
		for letters := arg[1:]; letters != ""; {
			letter := letters[0]
			letters = letters[1:]
			value := ""
			if strings.IndexByte("otN", letter) >= 0 {
				value, letters = letters, ""
				if value == "" {
					if len(args) == 0 {
						return helperCall{}, fmt.Errorf("-%c needs a value", letter)
					}
					value, args = args[0], args[1:]
				}
			}
			switch letter {
			case 's':
				h.sloppy = true
			case 'f':
				h.fake = true
			case 'v':
				h.verbose = true
			case 'o':
				h.options = append(h.options, value)
			case 'n', 't':
			case 'h':
				h.help = true
			case 'V':
				h.version = true
			case 'N':
				return helperCall{}, fmt.Errorf("-N %s: ocifs mounts in its own namespace alone; run mount in that one: nsenter -m", value)
			default:
				return helperCall{}, fmt.Errorf("there is no flag -%c", letter)
			}
		}
	}
	if h.help || h.version {
		return h, nil
	}
	if len(names) != 2 {
		return helperCall{}, fmt.Errorf("SPEC and DIR are needed, and %d arguments are given", len(names))
	}
	h.spec, h.dir = names[0], names[1]
	return h, nil
}

// run does what the call asks for. What -v prints goes to w.
func (h helperCall) run(ctx context.Context, w io.Writer) error {
	o, err := parseMountOptions(strings.Join(h.options, ","))
	switch {
	case err != nil:
		return usageError{err}
	case o.another == "remount":
		return fmt.Errorf("mount option remount: ocifs can't change a mount that is there; unmount %s and mount it anew", h.dir)
	case o.another != "":
		return fmt.Errorf("mount option %s: ocifs makes new mounts only; 'mount --%[1]s' without a type is done by the kernel", o.another)
	case strings.HasPrefix(h.spec, "/"):
		return usageError{fmt.Errorf("SPEC %s is a path: write oci://HOST, because mount(8) makes a path of the name of a directory", h.spec)}
	}
	for _, v := range o.env {
		if err := os.Setenv(v.name, v.value); err != nil {
			return usageError{fmt.Errorf("mount option env.%s: %w", v, err)}
		}
	}
	s, err := h.settings(o)
	if err != nil {
		return err
	}
	args := append([]string{"mount"}, s.arguments()...)
	names := []string{h.dir}
	if h.spec != everyRegistry[1] { // that is the source which ocifs mount shows without one
		names = []string{h.spec, h.dir}
	}
	args = append(append(args, "--"), names...)
	if h.verbose {
		fmt.Fprintln(w, equalCommand(o.env, args))
	}
	flags := &cobra.Command{}
	s.register(flags)
	if err := s.load(flags.Flags()); err != nil {
		return err
	}
	c, err := newMountCall(s, names, args)
	if err != nil {
		return err
	}
	if h.fake {
		_, _, err = checkMountpoint(ctx, c.dir, s.cacheDir)
	} else {
		err = c.run(ctx)
	}
	// mount -a mounts what isn't mounted, so it is done where the same SPEC is there.
	there := mountedAlready{}
	if errors.As(err, &there) && there.source == c.shownSource() {
		return nil
	}
	return err
}

// settings gives the settings that the options name, and the defaults.
func (h helperCall) settings(o mountOptions) (*settings, error) {
	s := newSettings()
	var unknown []string
	for _, option := range o.settings {
		err := s.setOption(option.name, option.value, option.has)
		if e := (unknownSetting{}); errors.As(err, &e) {
			unknown = append(unknown, e.Error())
			continue
		}
		if err != nil {
			return nil, usageError{err}
		}
	}
	if len(unknown) > 0 && !h.sloppy {
		return nil, usageError{errors.New(strings.Join(unknown, "; "))}
	}
	if len(o.fuse) > 0 {
		row, _ := settingOf("fuse-option")
		if err := s.assign(row, assignment{"mount options", o.fuse}); err != nil {
			return nil, usageError{err}
		}
	}
	return s, nil
}

// equalCommand is an ocifs mount with args, as a shell reads it.
func equalCommand(env []mountOption, args []string) string {
	var words []string
	if len(env) > 0 {
		words = append(words, "env")
		for _, v := range env {
			words = append(words, v.String())
		}
	}
	words = append(append(words, "ocifs"), args...)
	for i, w := range words {
		words[i] = shellWord(w)
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for a shell, if it needs that.
func shellWord(s string) string {
	plain := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_./:,=@%+", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
