package hosts

import (
	"log/slog"
	"os"
	"path/filepath"
)

// Options name the files that a Finder reads. The zero value names none.
type Options struct {
	// Containerd are directories of hosts.toml files (containerd's certs.d, or what its
	// config_path names). The first that has something for a host counts.
	Containerd []string
	// RegistriesConf are podman's registries.conf files. The first whose File exists counts,
	// else the last one's directories.
	RegistriesConf []RegistriesConf
	// DaemonJSON are docker's daemon.json files. The first that exists counts.
	DaemonJSON []string
	// Certs are certificate directories of docker and podman. All of them count.
	Certs []string
	// Log gets warnings. nil: nobody.
	Log *slog.Logger
}

// RegistriesConf is a registries.conf with its drop-in directories.
type RegistriesConf struct {
	File string
	// Dirs are the directories of drop-in files. The *.conf of each are read in the order of
	// their names, one directory after the other. An entry replaces that of the same prefix
	// from an earlier file.
	Dirs []string
}

// Usual names the places where containerd, podman and docker keep their files: below
// $XDG_CONFIG_HOME (or ~/.config), and below /etc.
//
// $CONTAINERS_REGISTRIES_CONF stands in for registries.conf, as to podman. Podman has its
// certificates below ~/.config alone. Docker Desktop has its files in ~/.docker.
func Usual() Options {
	var o Options
	home, _ := os.UserHomeDir() // without one, /etc counts
	config := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) && home != "" { // a relative one is to be ignored, by its specification
		config = filepath.Join(home, ".config")
	}
	drops := []string{"/etc/containers/registries.conf.d"}
	if filepath.IsAbs(config) {
		o.Containerd = append(o.Containerd, filepath.Join(config, "containerd", "certs.d"))
		o.Certs = append(o.Certs, filepath.Join(config, "docker", "certs.d"))
		o.DaemonJSON = append(o.DaemonJSON, filepath.Join(config, "docker", "daemon.json"))
		own := filepath.Join(config, "containers", "registries.conf")
		o.RegistriesConf = append(o.RegistriesConf, RegistriesConf{own, []string{own + ".d"}})
		drops = append(drops, own+".d")
	}
	o.Containerd = append(o.Containerd, "/etc/containerd/certs.d")
	o.RegistriesConf = append(o.RegistriesConf, RegistriesConf{"/etc/containers/registries.conf", drops})
	if file := os.Getenv("CONTAINERS_REGISTRIES_CONF"); file != "" {
		o.RegistriesConf = []RegistriesConf{{file, drops}}
	}
	if home != "" {
		o.Certs = append(o.Certs, filepath.Join(home, ".docker", "certs.d"))
		o.DaemonJSON = append(o.DaemonJSON, filepath.Join(home, ".docker", "daemon.json"))
	}
	o.Certs = append(o.Certs, "/etc/docker/certs.d")
	o.DaemonJSON = append(o.DaemonJSON, "/etc/docker/daemon.json")
	if home != "" {
		o.Certs = append(o.Certs, filepath.Join(home, ".config", "containers", "certs.d"))
	}
	o.Certs = append(o.Certs, "/etc/containers/certs.d")
	return o
}
