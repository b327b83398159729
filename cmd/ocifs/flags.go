package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/pflag"

	"github.com/ocifs/ocifs/fs"
)

// settings are what the flags of mount say.
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
	uploadSize   size
	maxDownload  size
	platform     platform
	symlinks     symlinks
	unpackedSize size
	xattr        bool
	logLevel     slog.Level
	logFormat    logFormat
	logFile      string
}

func (s *settings) register(f *pflag.FlagSet) {
	f.BoolVarP(&s.foreground, "foreground", "f", false, "stay in the foreground and log to standard error")
	s.registerCacheDir(f)
	f.Var(&s.cacheSize, "cache-size", "how much of the disk that takes at most: 500MB, 48GiB. It is kept there for all mounts that share it; while others use it, theirs stays, and 'ocifs cache limit' changes it. Without it, what is kept there, or 10GiB")
	f.DurationVar(&s.tagTTL, "tag-ttl", time.Minute, "how long a tag is believed before the registry is asked again")
	f.DurationVar(&s.listTTL, "list-ttl", time.Minute, "the same for lists of tags, repositories and referrers")
	s.registerRegistries(f)
	f.DurationVar(&s.retryMaxWait, "retry-max-wait", 30*time.Second, "the longest wait that a registry may ask for before a program gets EBUSY")
	f.IntVar(&s.connections, "connections", 8, "how many blobs, or parts of large ones, are downloaded at once from one host")
	f.Var(&s.verify, "verify", "'whole': no byte of a blob is shown before all of it has matched its digest; 'stream': bytes are shown as they come, and only the end is held back until then")
	f.BoolVar(&s.allowOther, "allow-other", false, "let other users read the mount")
	f.BoolVar(&s.readOnly, "read-only", false, "mount read-only, without upload/")
	f.BoolVar(&s.allowDelete, "allow-delete", false, "let rmdir and rm of tags, manifests and blobs delete them at the registry")
	f.Var(&s.uploadSize, "upload-size", "how much may be in upload/ that isn't pushed yet; without it, what the disk has")
	f.Var(&s.maxDownload, "max-download", "how much one job, a program with what it starts, may make be downloaded within a minute: 500MB. What would be more is EDQUOT, but the first blob may be larger. Without it, nothing is refused")
	s.platform = platform{fs.DefaultPlatform()}
	f.Var(&s.platform, "platform", "whose image stands for an index where one image is needed, as in image.tar: linux/amd64, linux/arm/v7")
	f.Var(&s.symlinks, "symlinks", "'confined': no symlink in rootfs/ or unpacked/ leads out of its image; 'verbatim': as they are in the image")
	s.unpackedSize = 64 << 30
	f.Var(&s.unpackedSize, "unpacked-size", "what one layer may unpack to. Beyond 1GiB, it may be 1000 times its size at most, whatever this says")
	f.BoolVar(&s.xattr, "xattr", false, "offer extended attributes (ls -l of huge directories gets slower)")
	f.TextVar(&s.logLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.Var(&s.logFormat, "log-format", "'text': key=value; 'json': an object a line")
	f.StringVar(&s.logFile, "log-file", "", "where to log; without it "+defaultLog()+", or standard error in the foreground")
}

func (s *settings) registerCacheDir(f *pflag.FlagSet) {
	f.StringVar(&s.cacheDir, "cache-dir", defaultDir("XDG_CACHE_HOME", ".cache"), "where blobs and manifests are kept")
}

// check finds what no flag parser does, and makes paths absolute: the daemon
// runs elsewhere.
func (s *settings) check() error {
	if err := s.checkRegistries(); err != nil {
		return err
	}
	for flag, d := range map[string]time.Duration{"--tag-ttl": s.tagTTL, "--list-ttl": s.listTTL, "--retry-max-wait": s.retryMaxWait} {
		if d < 0 {
			return usageError{fmt.Errorf("%s: %s is negative", flag, d)}
		}
	}
	if s.connections < 1 || s.connections > maxConnections {
		return usageError{fmt.Errorf("--connections: %d isn't a number from 1 to %d", s.connections, maxConnections)}
	}
	if s.readOnly && s.allowDelete {
		return usageError{fmt.Errorf("--allow-delete and --read-only: which of the two is meant?")}
	}
	if s.cacheDir == "" {
		return usageError{fmt.Errorf("--cache-dir: where is the cache to be? $HOME isn't set")}
	}
	if s.logFile == "" && !s.foreground {
		return usageError{fmt.Errorf("--log-file: where is the log to be? $HOME isn't set")}
	}
	var err error
	if s.cacheDir, err = filepath.Abs(s.cacheDir); err != nil {
		return err
	}
	if s.logFile != "" {
		s.logFile, err = filepath.Abs(s.logFile)
	}
	return err
}

// effective is what .ocifs/config.json shows.
func (s *settings) effective(source, mountpoint string, bound int64) map[string]any {
	list := func(names []string) []string {
		return append([]string{}, names...) // an array also where there are none
	}
	return map[string]any{
		"source": source, "mountpoint": mountpoint,
		"cache_dir": s.cacheDir, "cache_size": bound,
		"tag_ttl": s.tagTTL.String(), "list_ttl": s.listTTL.String(), "retry_max_wait": s.retryMaxWait.String(),
		"connections": s.connections, "verify": s.verify.String(),
		"plain_http": list(s.plainHTTP), "hosts_dirs": list(s.hostsDirs), "allow_other": s.allowOther, "read_only": s.readOnly, "xattr": s.xattr,
		"allow_delete": s.allowDelete, "upload_size": int64(s.uploadSize), "max_download": int64(s.maxDownload),
		"platform": s.platform.String(), "symlinks": s.symlinks.String(), "unpacked_size": int64(s.unpackedSize),
		"log_level": strings.ToLower(s.logLevel.String()), "log_format": s.logFormat.String(), "log_file": s.logFile,
	}
}

// defaultDir is ocifs' directory of a kind: below $env, else below ~/sub.
func defaultDir(env, sub string) string {
	if d := os.Getenv(env); filepath.IsAbs(d) {
		return filepath.Join(d, "ocifs")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, sub, "ocifs")
}

// defaultLog is where a daemon logs, or "" where there is no home.
func defaultLog() string {
	dir := defaultDir("XDG_STATE_HOME", ".local/state")
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "ocifs.log")
}

// maxConnections is more than any registry bears from one client.
const maxConnections = 64

// verification is when bytes of a blob are shown.
type verification struct{ stream bool }

func (v *verification) Set(s string) error {
	switch s {
	case "whole", "stream":
		v.stream = s == "stream"
		return nil
	}
	return fmt.Errorf("it is 'whole' or 'stream'")
}

func (v *verification) Type() string { return "MODE" }

func (v *verification) String() string {
	if v.stream {
		return "stream"
	}
	return "whole"
}

// symlinks says how symlinks in images are shown.
type symlinks struct{ verbatim bool }

func (l *symlinks) Set(s string) error {
	switch s {
	case "confined", "verbatim":
		l.verbatim = s == "verbatim"
		return nil
	}
	return fmt.Errorf("it is 'confined' or 'verbatim'")
}

func (l *symlinks) Type() string { return "MODE" }

func (l *symlinks) String() string {
	if l.verbatim {
		return "verbatim"
	}
	return "confined"
}

// platform is a platform as people write it: linux/amd64, linux/arm/v7.
type platform struct{ v1.Platform }

func (p *platform) Set(s string) (err error) {
	p.Platform, err = fs.ParsePlatform(s)
	return err
}

func (p *platform) Type() string { return "OS/ARCH[/VARIANT]" }

func (p *platform) String() string {
	if p.OS == "" {
		return ""
	}
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// size is a number of bytes as people write it: 48MiB, 10GiB, 500MB, 4096.
type size int64

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1}, {"", 1},
}

func (s *size) Set(v string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(v, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n > 0 && n*float64(u.bytes) < 1<<62) { // NaN is neither
			break
		}
		*s = size(n * float64(u.bytes))
		return nil
	}
	return fmt.Errorf("write a size as 48MiB, 10GiB or 500MB")
}

func (s *size) Type() string { return "SIZE" }

func (s *size) String() string {
	n, unit := int64(*s), ""
	for _, u := range units[:4] {
		if n%u.bytes == 0 && n >= u.bytes {
			unit = u.suffix
		}
	}
	for _, u := range units[:4] {
		if u.suffix == unit && unit != "" {
			n /= u.bytes
		}
	}
	return strconv.FormatInt(n, 10) + unit
}
