package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/probe"
)

// configured tells what people configured about the registry, where they did.
func (v *visit) configured() check {
	h, err := v.client.HostState(v.host)
	if err != nil {
		return wrong("mend that file", "%v", err)
	}
	said := fmt.Sprintf("%s of %s, by %s", plural(len(h.Servers)-1, "mirror", "mirrors"), v.host, strings.Join(h.Files, ", "))
	if record, err := v.finder.Record(v.host); err == nil && len(record.Warnings) > 0 {
		var warnings []string
		for _, w := range record.Warnings {
			warnings = append(warnings, w.Error())
		}
		if len(h.Files) > 0 {
			warnings = append([]string{said}, warnings...)
		}
		return warning("nothing, if that is meant: the rest counts", "%s", strings.Join(warnings, "; "))
	}
	if len(h.Files) == 0 {
		return check{}
	}
	return fine("%s", said)
}

// insecure names the file that says that the registry is insecure: it isn't verified, or may
// be asked by http. "" for none.
func (v *visit) insecure() string {
	record, err := v.finder.Record(v.host)
	if err != nil {
		return ""
	}
	s := record.Server
	if s.HTTPFallback || s.Base.Scheme == "http" || s.TLS != nil && s.TLS.InsecureSkipVerify {
		return s.From
	}
	return ""
}

// examineMirrors asks each mirror for nothing.
func (d *diagnosis) examineMirrors(ctx context.Context, v *visit) {
	h, err := v.client.HostState(v.host)
	if err != nil {
		return
	}
	for _, s := range h.Servers {
		if s.Mirror {
			d.do(ctx, "mirror", func(ctx context.Context) check { return v.mirror(ctx, s) })
		}
	}
}

// mirror tells whether a mirror answers. One that doesn't is passed over, so nothing
// is wrong with the registry.
func (v *visit) mirror(ctx context.Context, s registry.ServerState) check {
	_, err := probe.Greet(ctx, v.client, v.host, s.URL)
	if err == nil {
		return fine("%s answers, and is asked for: %s", s.URL, s.Can)
	}
	var e *registry.Error
	if errors.As(err, &e) && e.Err != nil {
		err = e.Err
	}
	return warning("look after it, or take it out of "+s.From, "%s is passed over: %v", s.URL, err)
}
