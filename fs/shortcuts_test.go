package fs

import (
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestExtensions(t *testing.T) {
	for mediaType, want := range map[string]string{
		v1.MediaTypeImageLayer:                                      ".tar",
		v1.MediaTypeImageLayerGzip:                                  ".tar.gz",
		v1.MediaTypeImageLayerZstd:                                  ".tar.zst",
		"application/vnd.docker.image.rootfs.diff.tar.gzip":         ".tar.gz",
		"application/vnd.docker.image.rootfs.diff.tar.zstd":         ".tar.zst",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": ".tar.gz",
		"application/vnd.oci.image.layer.v1.tar+gzip+encrypted":     ".tar.gz.enc",
		"application/vnd.cncf.helm.chart.content.v1.tar+gzip":       ".tar.gz",
		"application/vnd.in-toto+json":                              ".json",
		"application/json":                                          ".json",
		"text/plain; charset=utf-8":                                 ".txt",
		"application/octet-stream":                                  "",
		"":                                                          "",
	} {
		if got := extension(mediaType); got != want {
			t.Errorf("extension(%q) = %q, want %q", mediaType, got, want)
		}
	}
}
