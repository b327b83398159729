package content

import (
	"context"
	"errors"
	"os"
	"runtime"
)

// DemoRepository is where the images of the demo are.
const DemoRepository = "demo/app"

// Demo pushes what the demo and the transcripts of the manual show: two versions of an
// image with an SBOM, an index, an artifact, and an image that runs where [CanChroot] is
// true.
func Demo(ctx context.Context, host string) error {
	repo, err := To(host, DemoRepository, "", "")
	if err != nil {
		return err
	}
	v1, err1 := repo.Image(ctx, "v1", Sample("1.0"))
	_, err2 := repo.Image(ctx, "v2", Sample("2.0"))
	_, err3 := repo.MultiPlatform(ctx, "multi")
	_, err4 := repo.TitledArtifact(ctx, "model")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if CanChroot() {
		runnable, err := Runnable()
		if err != nil {
			return err
		}
		if _, err := repo.Image(ctx, "busybox", runnable); err != nil {
			return err
		}
	}
	_, err = repo.Referrer(ctx, v1, "application/vnd.example.sbom+json", `{"packages":["hello"]}`)
	return err
}

// CanChroot is true if an image of Linux can be run here.
func CanChroot() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }
