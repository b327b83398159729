package main

import (
	"log/slog"
	"slices"

	"github.com/ocifs/ocifs/registry/hosts"
)

// finder finds what people configured about registries. Files below the mountpoints are passed
// over: a process that serves such a one would wait for itself.
func (s *settings) finder(log *slog.Logger, mountpoints ...string) *hosts.Finder {
	o := hosts.Usual()
	if len(s.hostsDirs) > 0 {
		o.Containerd = s.hostsDirs
	}
	if len(mountpoints) > 0 {
		inside := func(path string) bool {
			path = realPath(path)
			return slices.ContainsFunc(mountpoints, func(m string) bool { return within(path, m) })
		}
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
