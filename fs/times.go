package fs

import (
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// epoch is the time of all entries that have none of their own: 1980-01-01T00:00:00Z. A time that
// never changes tells rsync, backups and make that nothing else has changed. 1980 is the first
// year that a zip archive can hold (MS-DOS date format, in PKWARE's APPNOTE, 4.4.6). The year
// 1970 isn't used, because its start, 0, means "no time" to many programs.
var epoch = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// created is the time of the files and symlinks of an image: the annotation
// org.opencontainers.image.created of its manifest (RFC 3339), else epoch. A time before 1970
// counts as none, because builders that leave times out write the year 1.
func created(annotations map[string]string) time.Time {
	t, err := time.Parse(time.RFC3339, annotations[v1.AnnotationCreated])
	if err != nil || t.Unix() < 0 {
		return epoch
	}
	return t
}
