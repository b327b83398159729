package main

import (
	"fmt"
	"slices"
	"strings"
)

// mountOptions is the list of options that mount(8) hands to a mount helper, sorted by who
// takes them.
//
// The grammar is libmount's. Commas separate the options. An option is NAME or NAME=VALUE. A
// double quote begins a part in which commas don't separate, and the next double quote ends it.
// mount(8) doesn't take the quotes away. A quote is never part of a name or a value.
type mountOptions struct {
	settings []mountOption // settings of ocifs, in the order of the list, or names that nobody knows
	fuse     []string      // for the kernel, as mount(2) takes them
	env      []mountOption // variables of the environment
	// another is the name of an option that asks for something else than a new mount, such as
	// remount; "": none does.
	another string
}

// mountOption is one option of the list.
type mountOption struct {
	name  string
	value string
	has   bool // the option has a value, which may be ""
}

func (o mountOption) String() string {
	if !o.has {
		return o.name
	}
	return o.name + "=" + o.value
}

// parseMountOptions reads the argument of -o.
func parseMountOptions(list string) (mountOptions, error) {
	var m mountOptions
	all, err := splitMountOptions(list)
	if err != nil {
		return mountOptions{}, err
	}
	for _, o := range all {
		variable, isVariable := strings.CutPrefix(o.name, "env.")
		switch {
		case isVariable && (variable == "" || !o.has):
			return mountOptions{}, fmt.Errorf("mount option %q: write env.NAME=VALUE", o)
		case isVariable:
			m.env = append(m.env, mountOption{variable, o.value, true})
		case slices.Contains(anotherOptions, o.name):
			m.another = o.name
		case o.name == "ro" && !o.has:
			m.settings = append(m.settings, mountOption{name: "read_only"})
		case slices.Contains(fuseOptions, o.name) && !o.has:
			m.fuse = append(m.fuse, o.name)
		case slices.Contains(labelOptions, o.name) && o.has:
			m.fuse = append(m.fuse, quoteMountOption(o))
		case isIgnored(o):
		default:
			m.settings = append(m.settings, o)
		}
	}
	return m, nil
}

// splitMountOptions reads the list as its grammar says. It leaves empty options out, as mount(8)
// does.
func splitMountOptions(list string) (all []mountOption, err error) {
	if strings.Count(list, `"`)%2 != 0 {
		return nil, fmt.Errorf("mount options %q: a double quote has no end", list)
	}
	for list != "" {
		var item string
		item, list, _ = cutUnquoted(list, ',')
		if item == "" {
			continue
		}
		name, value, has := cutUnquoted(item, '=')
		o := mountOption{unquote(name), unquote(value), has}
		if o.name == "" {
			return nil, fmt.Errorf("mount option %q has no name", item)
		}
		all = append(all, o)
	}
	return all, nil
}

// cutUnquoted is strings.Cut at the first sep that isn't quoted.
func cutUnquoted(s string, sep byte) (before, after string, found bool) {
	quoted := false
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func unquote(s string) string { return strings.ReplaceAll(s, `"`, "") }

// quoteMountOption writes an option for mount(2), where quotes keep the commas of a value as
// they do here.
func quoteMountOption(o mountOption) string {
	if strings.Contains(o.value, ",") {
		o.value = `"` + o.value + `"`
	}
	return o.String()
}

var (
	// anotherOptions ask for a change of a mount, or for a second name of a directory.
	anotherOptions = []string{"remount", "bind", "rbind", "move"}
	// fuseOptions are flags that the kernel takes for any file system. A FUSE mount has nodev
	// and nosuid in any case.
	fuseOptions = []string{"nodev", "nosuid", "noexec"}
	// labelOptions are SELinux' options for the labels of a mount.
	labelOptions = []string{"context", "fscontext", "defcontext", "rootcontext"}
	// ignoredFlags are options without a value that mean nothing here: some are about when and by
	// whom fstab's line is mounted, some are defaults, and some are about what a file system that
	// stores no times, writes nothing late and knows no device doesn't have.
	ignoredFlags = []string{
		"rw", "defaults", "auto", "noauto", "nofail", "_netdev",
		"user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup",
		"sync", "async", "dirsync",
		"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime",
		"strictatime", "nostrictatime", "lazytime", "nolazytime",
		"iversion", "noiversion", "mand", "nomand", "silent", "loud", "dev", "suid", "exec",
		"default_permissions",
	}
	// ignoredValues are options with a value that mean nothing here. The kernel lists SPEC as the
	// source of the mount, whatever fsname says.
	ignoredValues = []string{"user", "comment", "uhelper", "helper", "subtype", "fsname"}
)

// readFUSEOption reads an option for the kernel, NAME or NAME=VALUE, and gives it as mount(2) takes
// it.
func readFUSEOption(s string) (string, error) {
	all, _ := splitMountOptions(s)
	if m, err := parseMountOptions(s); err == nil && len(all) == 1 && len(m.fuse) == 1 {
		return m.fuse[0], nil
	}
	return "", fmt.Errorf("write %s, or one of %s with =LABEL, where a label with commas is in double quotes", strings.Join(fuseOptions, ", "), strings.Join(labelOptions, ", "))
}

// takesNoValue says whether an option is one that mount(8) and fstab write without a value.
func takesNoValue(name string) bool {
	return name == "ro" || slices.Contains(fuseOptions, name) || slices.Contains(ignoredFlags, name)
}

// isIgnored says whether an option is one that mount helpers have to accept and that changes
// nothing.
func isIgnored(o mountOption) bool {
	switch {
	case strings.HasPrefix(o.name, "x-"), strings.HasPrefix(o.name, "X-"):
		return true
	case o.has:
		return slices.Contains(ignoredValues, o.name)
	}
	return slices.Contains(ignoredFlags, o.name)
}
