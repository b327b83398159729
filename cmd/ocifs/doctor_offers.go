package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/probe"
	"github.com/ocifs/ocifs/registry/ref"
)

// hubPreview is the image that Docker Hub has for asking what its limits are
// (https://docs.docker.com/docker-hub/usage/pulls/).
var hubPreview = ref.Repository{Host: ref.DockerHub, Path: "ratelimitpreview/test"}

// examineOffers finds out what the registry offers. What it doesn't offer isn't wrong:
// ocifs does without.
func (d *diagnosis) examineOffers(ctx context.Context, v *visit) {
	first, _ := find(ctx, d, "catalog", checkFor, v.catalog)
	r, named := v.repo, v.repo != (ref.Repository{})
	if !named && first != "" {
		if found, err := ref.NewRepository(v.host, first); err == nil {
			r = found
		}
	}
	if r.Path == "" {
		d.do(ctx, "repository", func(context.Context) check {
			return unknown("ocifs doctor "+v.host+"/REPOSITORY tells more", "what else is offered is seen at a repository, and none is known")
		})
		if v.host == ref.DockerHub {
			d.do(ctx, "rate-limit", func(ctx context.Context) check { return v.rateLimit(ctx, hubPreview, "latest") })
		}
		return
	}
	example, c := find(ctx, d, "repository", checkFor, func(ctx context.Context) (sample, check) {
		found, c := v.sample(ctx, r)
		if c.State == isWrong && !named {
			c.State = isUnknown // nobody asked for this one
		}
		return found, c
	})
	if c.State == isOK {
		d.do(ctx, "rate-limit", func(ctx context.Context) check { return v.rateLimit(ctx, r, example.tag) })
	}
	if c.State != isOK && c.State != isWarning {
		return
	}
	d.do(ctx, "referrers", func(ctx context.Context) check {
		yes, err := probe.OffersReferrers(ctx, v.client, r)
		return v.offer(yes, err, "referrers are listed by the API",
			fine("there is no referrers API: the tag schema stands for it"))
	})
	if example.blob.Size > 0 {
		d.do(ctx, "range", func(ctx context.Context) check {
			yes, err := probe.OffersRange(ctx, v.client, r, example.blob)
			return v.offer(yes, err, "parts of blobs can be read",
				warning("whoever runs the registry may have a proxy before it that drops Range", "parts of blobs can't be read: a download that breaks off begins anew"))
		})
		d.do(ctx, "blob-mount", func(ctx context.Context) check {
			yes, err := probe.OffersMount(ctx, v.client, r, example.blob)
			return v.offer(yes, err, "blobs are taken over from other repositories without being sent",
				warning("nothing needs to be done: it takes longer", "blobs aren't taken over from other repositories: a copy within this host is sent"))
		})
	}
	d.do(ctx, "delete", func(ctx context.Context) check {
		yes, err := probe.OffersDelete(ctx, v.client, r)
		return v.offer(yes, err, "manifests can be deleted, with --allow-delete",
			warning("if it should be: whoever runs the registry has to allow it", "nothing can be deleted: rmdir fails with 'Operation not supported'"))
	})
}

// offer tells of an offering: that it is there, that it isn't, or why that can't be
// told.
func (v *visit) offer(yes bool, err error, there string, absent check) check {
	switch {
	case errors.Is(err, registry.ErrDenied):
		who := "nobody in particular may"
		if !v.cred.Empty() {
			who = "this credential may"
		}
		return unknown("ask again with an account that may write, if you need to know", "it can't be told, as %s not do that", who)
	case errors.Is(err, context.DeadlineExceeded):
		return unknown("ask again", "there was no answer in time")
	case err != nil:
		return unknown("ask again, or ask whoever runs the registry", "it can't be told: %v", err)
	case yes:
		return fine("%s", there)
	}
	return absent
}

// catalog looks at the first page of the catalog, and gives the first repository.
func (v *visit) catalog(ctx context.Context) (string, check) {
	next := "name repositories by their paths: ls MOUNTPOINT/" + v.host + "/REPOSITORY"
	for names, err := range v.client.Catalog(ctx, v.host) {
		switch {
		case errors.Is(err, registry.ErrUnsupported):
			return "", warning(next, "there is no catalog: listing the host shows what was visited alone")
		case errors.Is(err, registry.ErrDenied):
			return "", warning(next, "the catalog isn't shown to you: listing the host shows what was visited alone")
		case err != nil:
			return "", unknown(next, "the catalog: %v", err)
		case len(names) == 0:
			return "", fine("there is a catalog, which names no repository")
		}
		return names[0], fine("there is a catalog, whose first page has %s", plural(len(names), "repository", "repositories"))
	}
	return "", check{}
}

// sample is something to look at in a repository.
type sample struct {
	tag  string        // or a digest; "": it has no tags
	blob v1.Descriptor // the zero value: there is none that isn't empty
}

// sample finds something to look at in a repository.
func (v *visit) sample(ctx context.Context, r ref.Repository) (sample, check) {
	tag, blob, err := probe.Sample(ctx, v.client, r, v.object)
	name := ref.Reference{Repository: r, Object: tag}.String()
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return sample{}, wrong("is it spelled right? Some registries say the same of what is private: docker login "+v.host, "%s isn't there", name)
	case errors.Is(err, registry.ErrUnsupported):
		return sample{}, warning("name a tag: ocifs doctor "+name+":TAG", "the registry doesn't list the tags of %s", name)
	case errors.Is(err, registry.ErrDenied) && v.cred.Empty():
		return sample{}, wrong("log in: docker login "+v.host, "%s can't be read by everyone, and there is no credential", name)
	case errors.Is(err, registry.ErrDenied):
		return sample{}, wrong(again(v.cred.Hint)+", as somebody who may", "%s can't be read with the credential of %s", name, v.cred.Origin)
	case err != nil:
		return sample{}, v.unreachable(err)
	case tag == "":
		return sample{}, warning("push something to it: ocifs doctor tells more then", "%s has no tags", name)
	}
	return sample{tag, blob}, fine("%s can be read", name)
}

// rateLimit tells what may still be pulled, where the registry tells it.
func (v *visit) rateLimit(ctx context.Context, r ref.Repository, tag string) check {
	l, ok, err := probe.RateLimit(ctx, v.client, r, tag)
	switch {
	case err != nil && v.host == ref.DockerHub:
		return unknown("ask again", "what may still be pulled: %v", err)
	case err != nil || !ok:
		return check{}
	case l.Remaining == 0:
		return warning("wait, or log in: docker login "+v.host, "nothing may be pulled for now, of %s%s", plural(l.Limit, "pull", "pulls"), each(time.Duration(l.Window)*time.Second))
	}
	return fine("%d of %s%s are left", l.Remaining, plural(l.Limit, "pull", "pulls"), each(time.Duration(l.Window)*time.Second))
}

// each says that something is for so long a time.
func each(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return " in " + short(d)
}

// plural is a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
