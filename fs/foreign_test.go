package fs

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// pushForeign pushes an image whose base is foreign: the registry lacks it, and another server has
// it as content, or as it should be where content is nil.
func pushForeign(t *testing.T, s, outside *registrytest.Server, content []byte, base []byte, above ...[]byte) pushed {
	t.Helper()
	p := pushImage(t, s, "v1", nil, append([][]byte{base}, above...)...)
	var m v1.Manifest
	if err := json.Unmarshal(s.ReadManifest("r", "v1"), &m); err != nil {
		t.Fatal(err)
	}
	m.Layers[0].MediaType = foreignLayer
	m.Layers[0].URLs = []string{outside.URL + "/v2/base/blobs/" + p.layers[0].String()}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	p.digest = s.Manifest("r", "v1", m.MediaType, raw)
	outside.Blob("base", s.ReadBlob("r", p.layers[0]))
	s.Remove("r", p.layers[0].String())
	if content != nil {
		outside.On("GET blob", registrytest.Body(string(content)))
	}
	return p
}

// The files of a foreign layer come from the URLs of its descriptor where the registry lacks it.
// It shows in rootfs/ alone, and no name of the image leads to a blob that the registry lacks.
//
// Behaviour: blob.urls
func TestTheFilesOfAForeignLayerComeFromItsURL(t *testing.T) {
	s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	p := pushForeign(t, s, outside, nil, archiveOf(t, "base=x", "d/", "d/low=y"), archiveOf(t, "d/", "d/top=z"))
	outside.First(1, "GET blob", registrytest.Cut(20))
	w := walkAt(t, s, t.TempDir())
	at := "r/tags/v1"
	w.want(at+"/unpacked", "01-"+p.layers[1].Encoded()[:12])
	w.want(at+"/layers", "01-"+p.layers[1].Encoded()[:12]+".tar.gz")
	w.fails(at+"/unpacked/00-"+p.layers[0].Encoded()[:12], node.ErrNotExist)
	w.fails(at+"/blobs/"+hexPath(p.layers[0]), node.ErrNotExist)
	w.fails("r/unpacked/"+hexPath(p.layers[0]), registry.ErrNotFound)
	outside.Want()

	w.want(p.rootfs()+"/d/top", "z")
	outside.Want() // the top layer decides
	w.want(p.rootfs(), "base d")
	w.want(p.rootfs()+"/base", "x")
	w.want(p.rootfs()+"/d", "low top")
	if n := s.Count("GET blob") - 2; n != 1 { // beside the config and the top layer
		t.Errorf("the registry was asked for the base %d times: %v", n, s.Asked())
	}
	outside.Want("GET blob", "GET blob bytes=20-")
	for _, q := range outside.Requests() {
		if q.Credential != (registrytest.Credential{}) {
			t.Errorf("%s with the credential %v", q, q.Credential)
		}
	}
	w.want(at+"/unpacked", "01-"+p.layers[1].Encoded()[:12])
	w.fails(at+"/blobs/"+hexPath(p.layers[0]), node.ErrNotExist)
}

// A foreign layer that its registry has is a layer like any other.
func TestAForeignLayerThatTheRegistryHasCostsNoURL(t *testing.T) {
	s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	base := archiveOf(t, "base=x")
	p := pushForeign(t, s, outside, nil, base)
	s.Blob("r", zipped(t, base))
	w := walkAt(t, s, t.TempDir())
	w.want("r/tags/v1/unpacked", "00-"+p.layers[0].Encoded()[:12])
	w.want(p.rootfs()+"/base", "x")
	outside.Want()
}

// Nothing of other bytes than the manifest promises shows, wherever they come from, and the right
// ones show once they are there. A layer of some MiB is unpacked before all of it has come: what the
// unpacking says of wrong bytes is said of them alone.
func TestAForeignLayerIsVerified(t *testing.T) {
	b := make([]byte, 5<<18) // hex digits are packed to half their size: 1 MiB is shown early
	rand.NewChaCha8([32]byte{}).Read(b)
	large := archiveOf(t, "base=x", "random="+hex.EncodeToString(b))
	for name, c := range map[string]struct {
		base  []byte
		wrong func(packed []byte)
	}{
		"a small one":                  {archiveOf(t, "base=x"), func(b []byte) { b[len(b)/2] ^= 1 }},
		"its packing is malformed":     {large, func(b []byte) { clear(b[1000:2000]) }},
		"it isn't packed as it should": {large, func(b []byte) { b[0] ^= 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
			right := zipped(t, c.base)
			wrong := bytes.Clone(right)
			c.wrong(wrong)
			p := pushForeign(t, s, outside, wrong, c.base)
			w := walkAt(t, s, t.TempDir())
			w.fails(p.rootfs()+"/base", cache.ErrMismatch)
			_, err := w.shows(p.rootfs())
			if v := w.kernel.Judge(t.Context(), err); v.Errno != syscall.EBADMSG || !strings.Contains(err.Error(), p.layers[0].String()) {
				t.Errorf("%v: %v", v.Errno, err)
			}
			s.Blob("r", right)
			w.want(p.rootfs()+"/base", "x")
		})
	}
}

// A foreign layer that nobody has is not there, and the error names who was asked.
func TestAForeignLayerThatNobodyHas(t *testing.T) {
	s, outside := registrytest.Start(t, registrytest.Options{}), registrytest.Start(t, registrytest.Options{})
	p := pushForeign(t, s, outside, nil, archiveOf(t, "base=x"), archiveOf(t, "top=y"))
	outside.Remove("base", p.layers[0].String())
	w := walkAt(t, s, t.TempDir())
	w.want(p.rootfs()+"/top", "y")
	w.fails(p.rootfs()+"/base", registry.ErrNotFound)
	if _, err := w.shows(p.rootfs()); err == nil || !strings.Contains(err.Error(), "layer 1 of 2") || !strings.Contains(err.Error(), outside.Host) {
		t.Errorf("the error names neither the layer nor the server: %v", err)
	}
}
