package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ocifsWay is a way through a mount of its own with an empty cache, which is there
// before and gone after. The script is made when it is.
func (b *bench) ocifsWay(name string, script func(d *daemon, round int) string, flags ...string) *way {
	return b.preparedWay(name, nil, script, flags...)
}

// preparedWay is an ocifsWay whose mount is used once before it is measured. Without prepare it
// isn't.
func (b *bench) preparedWay(name string, prepare, script func(d *daemon, round int) string, flags ...string) *way {
	const cache = "cold"
	var d *daemon
	w := &way{name: name, ours: true}
	w.before = func(ctx context.Context, round int) (err error) {
		if d, err = b.mount(ctx, self, cache, flags...); err != nil {
			d = nil
			return err
		}
		if prepare != nil {
			if _, err := d.run(ctx, prepare(d, round)); err != nil {
				return err
			}
		}
		return d.forgetPeak()
	}
	w.run = func(ctx context.Context, round int) (time.Duration, error) { return d.run(ctx, script(d, round)) }
	w.memory = func() (int64, error) { return d.peak() }
	w.after = func(context.Context) error {
		if d == nil {
			return nil
		}
		return errors.Join(d.stop(), os.RemoveAll(d.cache))
	}
	return w
}

// peer is a program's way. {out} in its script is a path that isn't there before and is
// removed after; it is on the disk that ocifs' cache is on. {round} is the round.
func (b *bench) peer(name, script string) *way {
	out := filepath.Join(b.dir, "out")
	return &way{
		name: name,
		run: func(ctx context.Context, round int) (time.Duration, error) {
			r, err := shell(ctx, b.env, strings.NewReplacer("{out}", out, "{round}", fmt.Sprint(round)).Replace(script))
			return r.Took, err
		},
		after: func(context.Context) error { return os.RemoveAll(out) },
	}
}

// fetchers are the programs that fetch a blob to a file, and an image that has nothing
// else with skopeo, which fetches no blobs. The first is curl, which verifies nothing.
func (b *bench) fetchers(host string, i image) []*way {
	ref, dgst := host+"/"+i.repo, i.layers[0].Digest.String()
	curl := b.peer("curl to a file", "curl -sSf -o {out} http://"+host+"/v2/"+i.repo+"/blobs/"+dgst)
	curl.limit = true
	return []*way{
		curl,
		b.peer("crane blob", "crane blob --insecure "+ref+"@"+dgst+" >{out}"),
		b.peer("oras blob fetch", "oras blob fetch --plain-http --no-tty --output {out} "+ref+"@"+dgst),
		b.peer("regctl blob get", "regctl --host reg="+host+",tls=disabled blob get "+ref+" "+dgst+" >{out}"),
		b.peer("skopeo copy", "skopeo --insecure-policy copy -q --src-tls-verify=false docker://"+ref+":v1 dir:{out}"),
	}
}

func names(ways []*way) (n []string) {
	for _, w := range ways {
		n = append(n, w.name)
	}
	return n
}
