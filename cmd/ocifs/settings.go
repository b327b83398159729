package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/fs"
)

// settings are the values of the table's settings. The zero value is none of them:
// newSettings gives the defaults.
type settings struct {
	foreground   bool
	cacheDir     string
	cacheSize    size // 0: not given, the directory's bound
	tagTTL       time.Duration
	listTTL      time.Duration
	plainHTTP    []string
	hostsDirs    []string
	retryMaxWait time.Duration
	connections  int
	verify       verification
	allowOther   bool
	readOnly     bool
	allowDelete  bool
	fuseOptions  []string // as mount(2) takes them
	uploadSize   size     // 0: what the disk has
	maxDownload  size     // 0: no limit
	platform     platform
	symlinks     symlinks
	unpackedSize size
	xattr        bool
	logLevel     logLevel
	logFormat    logFormat
	logFile      string // "": standard error

	// from is where a setting got its value from, as errors name it, by the setting's name.
	// A setting that isn't in it has its default.
	from map[string]string
}

// setting is a row of the table. Flags, variables of the environment, config.toml, mount options,
// .ocifs/config.json, completion and the manual are made from it.
type setting struct {
	name   string // the flag's: cache-dir
	letter string // the flag's other name, of one letter; "": none
	group  string // the settings that belong together have the same
	places place
	// unset is the default, as the manual tells it. It is the same on each machine, so that
	// manual pages can be reproduced.
	unset string
	// find gives the default where it depends on the machine; nil: unset is the default.
	find  func() string
	text  string
	value func(*settings) value
}

// place is a set of the places where a setting may be set or shown.
type place uint8

const (
	byFlag place = 1 << iota
	byEnvironment
	byFile    // config.toml
	byOption  // mount -o
	inOverall // .ocifs/config.json shows it

	// anywhere has all places: those of most settings of a mount.
	anywhere = byFlag | byEnvironment | byFile | byOption | inOverall
)

// The choices of the settings that have some.
type (
	verification string // when bytes of a blob are shown
	symlinks     string // how symlinks of images are shown
)

const (
	verifyWhole  verification = "whole"
	verifyStream verification = "stream"

	symlinksConfined symlinks = "confined"
	symlinksVerbatim symlinks = "verbatim"
)

// maxConnections is more than any registry bears from one client.
const maxConnections = 64

// table has each setting once. Its order is the manual's.
var table = []setting{
	{name: "foreground", letter: "f", group: "mount", places: byFlag,
		text:  "stay in the foreground and log to standard error",
		value: func(s *settings) value { return (*boolean)(&s.foreground) }},
	{name: "read-only", group: "mount", places: anywhere,
		text:  "mount read-only, without upload/",
		value: func(s *settings) value { return (*boolean)(&s.readOnly) }},
	{name: "allow-other", group: "mount", places: anywhere,
		text:  "let other users read the mount",
		value: func(s *settings) value { return (*boolean)(&s.allowOther) }},
	{name: "allow-delete", group: "mount", places: anywhere,
		text:  "let rmdir and rm of tags, manifests and blobs delete them at the registry",
		value: func(s *settings) value { return (*boolean)(&s.allowDelete) }},
	{name: "fuse-option", group: "mount", places: byFlag | inOverall,
		text:  "an option of the mount for the kernel: noexec, or context=, fscontext=, defcontext= or rootcontext= with a label of SELinux; may be given again",
		value: func(s *settings) value { return &list{&s.fuseOptions, "OPTION", readFUSEOption} }},

	{name: "cache-dir", group: "cache", places: anywhere, unset: "~/.cache/ocifs", find: defaultCache,
		text:  "where blobs and manifests are kept",
		value: func(s *settings) value { return &text{&s.cacheDir, "DIR"} }},
	{name: "cache-size", group: "cache", places: anywhere,
		text:  "how much of its disk the cache takes at most: 500MB, 48GiB. The bound is kept in the directory, for all mounts that share it; while others use it, theirs stays, and 'ocifs cache limit' changes it. Without it, what is kept there, or 10GiB",
		value: func(s *settings) value { return &s.cacheSize }},
	{name: "tag-ttl", group: "cache", places: anywhere, unset: "1m",
		text:  "how long a tag is believed before the registry is asked again",
		value: func(s *settings) value { return (*duration)(&s.tagTTL) }},
	{name: "list-ttl", group: "cache", places: anywhere, unset: "1m",
		text:  "how long lists of tags, repositories and referrers are believed",
		value: func(s *settings) value { return (*duration)(&s.listTTL) }},

	{name: "plain-http", group: "registries", places: anywhere,
		text:  "a host that is asked by http; may be given again (loopback hosts need no flag)",
		value: func(s *settings) value { return &list{&s.plainHTTP, "HOST[:PORT]", readHost} }},
	{name: "hosts-dir", group: "registries", places: anywhere,
		text:  "a directory of containerd's hosts.toml files, in place of the usual ones; may be given again",
		value: func(s *settings) value { return &list{&s.hostsDirs, "DIR", readPath} }},
	{name: "retry-max-wait", group: "registries", places: anywhere, unset: "30s",
		text:  "the longest wait that a registry may ask for before a program gets EBUSY",
		value: func(s *settings) value { return (*duration)(&s.retryMaxWait) }},
	{name: "connections", group: "registries", places: anywhere, unset: "8",
		text:  "how many blobs, or parts of large ones, are downloaded at once from one host",
		value: func(s *settings) value { return &number{&s.connections, 1, maxConnections} }},
	{name: "max-download", group: "registries", places: anywhere,
		text:  "how much one job, a program with what it starts, may make be downloaded within a minute: 500MB. What would be more is EDQUOT, but the first blob may be larger. Without it, nothing is refused",
		value: func(s *settings) value { return &s.maxDownload }},
	{name: "upload-size", group: "registries", places: anywhere,
		text:  "how much may be in upload/ that isn't pushed yet; without it, what the disk has",
		value: func(s *settings) value { return &s.uploadSize }},

	{name: "verify", group: "images", places: anywhere, unset: string(verifyWhole),
		text: "'whole': no byte of a blob is shown before all of it has matched its digest; 'stream': bytes are shown as they come, and only the end is held back until then",
		value: func(s *settings) value {
			return &enum[verification]{&s.verify, []verification{verifyWhole, verifyStream}}
		}},
	{name: "platform", group: "images", places: anywhere, unset: "this machine's", find: func() string { return (&platform{fs.DefaultPlatform()}).String() },
		text:  "whose image stands for an index where one image is needed, as in image.tar: linux/amd64, linux/arm/v7",
		value: func(s *settings) value { return &s.platform }},
	{name: "symlinks", group: "images", places: anywhere, unset: string(symlinksConfined),
		text: "'confined': no symlink in rootfs/ or unpacked/ leads out of its image; 'verbatim': as they are in the image",
		value: func(s *settings) value {
			return &enum[symlinks]{&s.symlinks, []symlinks{symlinksConfined, symlinksVerbatim}}
		}},
	{name: "unpacked-size", group: "images", places: anywhere, unset: "64GiB",
		text:  "what one layer may unpack to. Beyond 1GiB, it may be 1000 times its size at most, whatever this says",
		value: func(s *settings) value { return &s.unpackedSize }},
	{name: "xattr", group: "images", places: anywhere,
		text:  "offer extended attributes (ls -l of huge directories gets slower)",
		value: func(s *settings) value { return (*boolean)(&s.xattr) }},

	{name: "log-level", group: "log", places: anywhere, unset: "info",
		text:  "how much is logged",
		value: func(s *settings) value { return &enum[logLevel]{&s.logLevel, logLevels} }},
	{name: "log-format", group: "log", places: anywhere, unset: string(logText),
		text:  "'text': key=value; 'json': an object a line",
		value: func(s *settings) value { return &enum[logFormat]{&s.logFormat, []logFormat{logText, logJSON}} }},
	{name: "log-file", group: "log", places: anywhere, unset: "~/.local/state/ocifs/ocifs.log, or standard error in the foreground",
		find:  func() string { return "" },
		text:  "where to log",
		value: func(s *settings) value { return &text{&s.logFile, "FILE"} }},
}

// newSettings gives the defaults.
func newSettings() *settings {
	s := &settings{from: map[string]string{}}
	for _, row := range table {
		initial := row.unset
		if row.find != nil {
			initial = row.find()
		}
		if initial == "" {
			continue
		}
		if err := row.value(s).Set(initial); err != nil {
			panic(fmt.Sprintf("the default of %s: %v", row.name, err))
		}
	}
	return s
}

// settingOf gives the row of a name, which may be spelled with _ in place of -.
func settingOf(name string) (row setting, ok bool) {
	name = strings.ReplaceAll(name, "_", "-")
	i := slices.IndexFunc(table, func(row setting) bool { return row.name == name })
	if i < 0 {
		return setting{}, false
	}
	return table[i], true
}

// key is the setting's name in files: cache_dir.
func (row setting) key() string { return strings.ReplaceAll(row.name, "-", "_") }

// variable is the setting's name in the environment: OCIFS_CACHE_DIR.
func (row setting) variable() string { return "OCIFS_" + strings.ToUpper(row.key()) }

// register adds flags to a command: those of the named settings, or of all.
func (s *settings) register(c *cobra.Command, names ...string) {
	f := c.Flags()
	f.SortFlags = false
	for _, row := range table {
		if row.places&byFlag == 0 || len(names) > 0 && !slices.Contains(names, row.name) {
			continue
		}
		v := row.value(s)
		flag := f.VarPF(v, row.name, row.letter, row.text)
		flag.DefValue = row.unset
		if _, ok := v.(*boolean); ok {
			flag.NoOptDefVal = "true"
		}
		if err := completeValue(c, row.name, v); err != nil {
			panic(err) // the flag was made above
		}
	}
}

// origin names where a setting got its value from, or its flag.
func (s *settings) origin(name string) string {
	if from, ok := s.from[name]; ok {
		return from
	}
	return "--" + name
}

// check finds mistakes that no single value shows, and makes paths absolute: the daemon runs
// elsewhere.
func (s *settings) check() error {
	if s.readOnly && s.allowDelete {
		return usageError{fmt.Errorf("%s and %s: which of the two is meant?", s.origin("allow-delete"), s.origin("read-only"))}
	}
	if !s.foreground && s.logFile == "" {
		s.logFile = defaultLog()
		if s.logFile == "" {
			return usageError{fmt.Errorf("--log-file: where is the log to be? There is no home directory")}
		}
	}
	if s.logFile != "" {
		path, err := filepath.Abs(s.logFile)
		if err != nil {
			return err
		}
		s.logFile = path
	}
	if err := s.checkCacheDir(); err != nil {
		return err
	}
	return s.checkHostsDirs()
}

// checkCacheDir makes the path of the cache absolute.
func (s *settings) checkCacheDir() (err error) {
	if _, said := s.from["cache-dir"]; s.cacheDir == "" && said {
		return usageError{fmt.Errorf("%s: it is empty: name a directory, or leave it out for the usual one", s.origin("cache-dir"))}
	}
	if s.cacheDir == "" {
		return usageError{fmt.Errorf("%s: where is the cache? There is no home directory", s.origin("cache-dir"))}
	}
	s.cacheDir, err = filepath.Abs(s.cacheDir)
	return err
}

// checkHostsDirs finds directories that aren't there, and makes their paths absolute.
func (s *settings) checkHostsDirs() error {
	for i, d := range s.hostsDirs {
		st, err := os.Stat(d)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", s.origin("hosts-dir"), err)}
		}
		if !st.IsDir() {
			return usageError{fmt.Errorf("%s: %s is not a directory", s.origin("hosts-dir"), d)}
		}
		if s.hostsDirs[i], err = filepath.Abs(d); err != nil {
			return err
		}
	}
	return nil
}

// effective is what .ocifs/config.json shows. No setting holds a secret: credentials are in the
// files that package auth reads.
func (s *settings) effective(source, mountpoint string, bound int64) map[string]any {
	all := map[string]any{"source": source, "mountpoint": mountpoint}
	for _, row := range table {
		if row.places&inOverall != 0 {
			all[row.key()] = row.value(s).effective()
		}
	}
	all["cache_size"] = bound
	return all
}

// names lists the names of the settings that have a place.
func names(at place) (all []string) {
	for _, row := range table {
		if row.places&at != 0 {
			all = append(all, row.name)
		}
	}
	slices.Sort(all)
	return all
}
