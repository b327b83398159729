package content

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Runnable is an image that a chroot can run, because it has this machine's busybox: as /bin/sh and
// under some names more. The upper layer has /etc/motd.
func Runnable() (Image, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return Image{}, fmt.Errorf("%w: install busybox-static", err)
	}
	program, err := elf.Open(path)
	if err != nil {
		return Image{}, fmt.Errorf("reading busybox: %w", err)
	}
	defer program.Close()
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return Image{}, fmt.Errorf("%s needs libraries: install busybox-static", path)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Image{}, fmt.Errorf("reading busybox: %w", err)
	}
	return Image{Layers: []Layer{
		{MediaType: ocispec.MediaTypeImageLayerGzip, Files: []File{
			{Name: "bin/"}, {Name: "bin/busybox", Text: string(b), Mode: 0o755},
			{Name: "bin/sh", Link: "/bin/busybox"}, {Name: "bin/cat", Link: "busybox"},
			{Name: "etc/motd", Text: "base\n"},
		}},
		{MediaType: ocispec.MediaTypeImageLayerGzip, Files: []File{
			{Name: "bin/ls", Link: "busybox"}, {Name: "etc/motd", Text: "from inside the image\n"}, {Name: "tmp/"},
		}},
	}}, nil
}
