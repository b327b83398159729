package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/ocifs/ocifs/registry/hosts"
	"github.com/ocifs/ocifs/registry/ref"
)

// registerRegistries adds the flags that say how registries are reached.
func (s *settings) registerRegistries(f *pflag.FlagSet) {
	f.StringArrayVar(&s.plainHTTP, "plain-http", nil, "a `HOST[:PORT]` that is asked by http; may be given again (loopback hosts need no flag)")
	f.StringArrayVar(&s.hostsDirs, "hosts-dir", nil, "a `DIR` of containerd's hosts.toml files, in place of the usual ones; may be given again")
}

// checkRegistries finds what no flag parser does, and spells names and paths out.
func (s *settings) checkRegistries() error {
	for i, h := range s.plainHTTP {
		host, err := ref.ParseHost(h)
		if err != nil {
			return usageError{fmt.Errorf("--plain-http: %w", err)}
		}
		s.plainHTTP[i] = host
	}
	for i, d := range s.hostsDirs {
		st, err := os.Stat(d)
		if err != nil {
			return usageError{fmt.Errorf("--hosts-dir: %w", err)}
		}
		if !st.IsDir() {
			return usageError{fmt.Errorf("--hosts-dir: %s is not a directory", d)}
		}
		if s.hostsDirs[i], err = filepath.Abs(d); err != nil {
			return err
		}
	}
	return nil
}

// finder finds what people configured about registries. What is below mountpoint, where
// that isn't "", is passed over: this process serves it, and would wait for itself.
func (s *settings) finder(log *slog.Logger, mountpoint string) *hosts.Finder {
	o := hosts.Usual()
	if len(s.hostsDirs) > 0 {
		o.Containerd = s.hostsDirs
	}
	if mountpoint != "" {
		inside := func(path string) bool { return within(realPath(path), mountpoint) }
		o.Containerd = slices.DeleteFunc(slices.Clone(o.Containerd), inside)
		o.Certs = slices.DeleteFunc(o.Certs, inside)
		o.DaemonJSON = slices.DeleteFunc(o.DaemonJSON, inside)
		o.RegistriesConf = slices.DeleteFunc(o.RegistriesConf, func(c hosts.RegistriesConf) bool { return inside(c.File) })
		for i, c := range o.RegistriesConf {
			o.RegistriesConf[i].Dirs = slices.DeleteFunc(slices.Clone(c.Dirs), inside)
		}
	}
	o.Log = log
	return hosts.New(o)
}
