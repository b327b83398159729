package main

import (
	"strings"
	"testing"
)

// A source is taken as people write it where its meaning is sure.
func TestSources(t *testing.T) {
	for in, want := range map[string][2]string{
		"":                               {},
		"ghcr.io":                        {"ghcr.io"},
		"ghcr.io/":                       {"ghcr.io"},
		"GHCR.io":                        {"ghcr.io"},
		"ghcr.io/org/app":                {"ghcr.io", "org/app"},
		"ghcr.io/org/app//":              {"ghcr.io", "org/app"},
		"ghcr.io/v2":                     {"ghcr.io", "v2"},
		"localhost:5000/a":               {"localhost:5000", "a"},
		"localhost_5000/a":               {"localhost:5000", "a"},
		"[::1]:5000/a":                   {"[::1]:5000", "a"},
		"docker.io":                      {"docker.io"},
		"docker.io/alpine":               {"docker.io", "alpine"},
		"index.docker.io/org/app":        {"docker.io", "org/app"},
		"docker://ghcr.io":               {"ghcr.io"},
		"docker://ghcr.io/org/app/":      {"ghcr.io", "org/app"},
		"docker://localhost:5000":        {"localhost:5000"},
		"docker://localhost/app":         {"localhost", "app"},
		"docker://registry:5000/app":     {"registry:5000", "app"},
		"docker://alpine":                {"docker.io", "library/alpine"},
		"docker://org/app":               {"docker.io", "org/app"},
		"docker://docker.io/alpine":      {"docker.io", "alpine"},
		"oci://ghcr.io/org/charts/":      {"ghcr.io", "org/charts"},
		"https://ghcr.io":                {"ghcr.io"},
		"https://ghcr.io/":               {"ghcr.io"},
		"https://ghcr.io/org/app":        {"ghcr.io", "org/app"},
		"https://ghcr.io/v2/":            {"ghcr.io"},
		"https://index.docker.io/v1/":    {"docker.io"},
		"http://localhost:5000/app":      {"localhost:5000", "app"},
		"http://127.0.0.1:5000/v2/":      {"127.0.0.1:5000"},
		"http://plain.example:5000/app/": {"plain.example:5000", "app"},
		"DOCKER://ghcr.io/org/app":       {"ghcr.io", "org/app"},
		"Https://ghcr.io/org/app":        {"ghcr.io", "org/app"},
	} {
		host, path, err := parseSource(in, []string{"plain.example:5000"})
		if err != nil || [2]string{host, path} != want {
			t.Errorf("%q is %q, %q, %v; want %q", in, host, path, err, want)
		}
	}
}

// A source whose meaning isn't sure, or that can't be mounted, is an error that names it
// and says what to write.
func TestSourcesThatAreNone(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for in, says := range map[string]string{
		"alpine":                         "docker.io/alpine",
		"org/app":                        "docker.io/org/app",
		"ghcr.io/Org":                    "ghcr.io/org",
		"ghcr.io//a":                     "HOST/REPOSITORY",
		"/tmp":                           "is a path",
		"./dir":                          "is a path",
		"~/oci":                          "is a path",
		"ghcr.io/org:v1":                 "write ghcr.io/org, and look into tags/v1",
		"docker://ghcr.io/org/app:v1":    "write ghcr.io/org/app, and look into tags/v1",
		"ghcr.io/app@sha256:" + hex:      "write ghcr.io/app, and look into manifests/sha256/" + hex,
		"ghcr.io/app:v1@sha256:" + hex:   "write ghcr.io/app, and look into manifests/sha256/" + hex,
		"docker://alpine:3.20":           "write docker.io/library/alpine, and look into tags/3.20",
		"docker://alpine@sha256:" + hex:  "write docker.io/library/alpine, and look into manifests/sha256/" + hex,
		"docker://org/app:v1":            "write docker.io/org/app, and look into tags/v1",
		"docker://postgres:16":           "write postgres:16, or docker.io/library/postgres",
		"docker://":                      "HOST/REPOSITORY",
		"https://":                       "HOST/REPOSITORY",
		"https://alpine":                 "docker.io/alpine",
		"oci://alpine":                   "docker.io/alpine",
		"http://ghcr.io/org/app":         "write ghcr.io/org/app --plain-http ghcr.io",
		"docker-daemon:alpine:latest":    "docker-daemon: is no registry",
		"containers-storage:a.io/b:v1":   "containers-storage: is no registry",
		"docker-archive:/tmp/x.tar":      "docker-archive: is no registry",
		"oci:/tmp/layout:v1":             "oci: is no registry",
		"dir:/tmp/x":                     "dir: is no registry",
		"s3://bucket/x":                  "no registry is addressed by s3://",
		"containers-storage://a.io/b":    "no registry is addressed by containers-storage://",
		"https://user:secret@ghcr.io/":   "HOST/REPOSITORY",
		"https://ghcr.io/org/app?tag=v1": "HOST/REPOSITORY",
	} {
		host, path, err := parseSource(in, nil)
		if err == nil || !strings.Contains(err.Error(), in) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is %q, %q, %v; want an error that names it and says %q", in, host, path, err, says)
		}
	}
}
