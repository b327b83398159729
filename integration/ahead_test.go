package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ocifs/ocifs/integration/internal/registries"
)

// A blob whose name says its digest is on its way to the registry before its writer has
// closed it, by whatever program; each byte of it is sent once, and what comes to the
// registry is what was written.
func TestBlobsAreSentWhileTheyAreWritten(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	ways := []struct {
		name   string
		script string
		ahead  bool
	}{
		{"cp", `cp $F $U/blobs/sha256/$HEX`, true},
		{"dd", `dd if=$F of=$U/blobs/sha256/$HEX bs=4k conv=fsync status=none`, true},
		{"cat", `cat $F > $U/blobs/sha256/$HEX`, true},
		{"rsync", `rsync $F $U/blobs/sha256/$HEX`, true},
		{"tar", `mkdir -p $W/tar/blobs/sha256 && cp $F $W/tar/blobs/sha256/$HEX && tar c -C $W/tar . | tar x --no-overwrite-dir -C $U`, true},
		{"crane", `oras push --plain-http --disable-path-validation $HOST/src/crane:v1 $F && crane pull --insecure --format=oci $HOST/src/crane:v1 $U/v1`, true},
		{"oras", `oras push --plain-http --disable-path-validation $HOST/src/oras:v1 $F && oras cp --from-plain-http $HOST/src/oras:v1 --to-oci-layout $U:v1`, true},
		{"by another name", `cp $F $U/blobs/model`, false},
	}
	onEvery(t, registries.Options{}, func(t *testing.T, s *registries.Server) {
		m := testMount(t, mounting{})
		for i, w := range ways {
			t.Run(w.name, func(t *testing.T) {
				m := m.forTest(t)
				file, d := noiseFile(t, uint64(40+i), size)
				to := fmt.Sprintf("team/to%d", i)
				s.Forget()
				m.sh("export F=%s U=%s HEX=%s HOST=%s W=%s; %s", file, m.at(s, to, "upload"), d.Encoded(), s.Host, t.TempDir(), w.script)
				hasBlob(t, s, to, d, http.StatusOK)
				m.sh("curl -sf http://%s/v2/%s/blobs/%s | cmp - %s", s.Host, to, d, file)
				var sent, ahead int64
				for _, r := range s.Requests() {
					if r.Kind == registries.Upload && r.Repository == to && r.Sent > 1<<20 { // neither a config nor the like
						sent += r.Sent
						if r.Method == http.MethodPatch {
							ahead += r.Sent
						}
					}
				}
				if sent != size || (ahead == size) != w.ahead {
					t.Errorf("%d bytes were sent of %d, %d of them before it was whole\n%v", sent, size, ahead, s.Requests())
				}
			})
		}
	})
}
