package main

import (
	"log/slog"
	"slices"

	"github.com/ocifs/ocifs/registry/hosts"
)

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
