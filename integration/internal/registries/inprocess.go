package registries

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // named in the configuration
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"   // likewise
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"github.com/sirupsen/logrus"
)

// Options choose among the ways in which registries are set up. The zero value
// is a registry that keeps everything in memory and lets everyone do everything.
type Options struct {
	// Dir is where the registry keeps its content; empty: in memory
	// (docker-registry always needs one).
	Dir string
	// Users may enter, by name and password; nil: everyone may.
	Users map[string]string
	// PageSize is how many tags or repositories are listed at once where the
	// client names no number; 0: as the registry likes, which may be all.
	// docker-registry never pages tags.
	PageSize int
	// ReferrersLimit is the size of one page of olareg's referrers, in bytes;
	// 0: 4 MiB.
	ReferrersLimit int64
}

// paged has a registry list in pages. Registries that would list all at once do
// page where they are asked to, so they are asked here.
func (o Options) paged(registry http.Handler) http.Handler {
	if o.PageSize == 0 {
		return registry
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		list := strings.HasSuffix(r.URL.Path, "/tags/list") || r.URL.Path == "/v2/_catalog"
		if list && !q.Has("n") {
			q.Set("n", strconv.Itoa(o.PageSize))
			r = r.Clone(r.Context())
			r.URL.RawQuery = q.Encode()
		}
		registry.ServeHTTP(w, r)
	})
}

// Distribution starts distribution v3, the reference implementation. It has no
// referrers API and refuses manifests whose blobs are missing. With Users it asks
// for tokens.
func Distribution(ctx context.Context, o Options) (*Server, error) {
	l, err := loopback()
	if err != nil {
		return nil, err
	}
	host := l.Addr().String()
	c := &configuration.Configuration{Storage: configuration.Storage{
		"delete":      {"enabled": true},
		"maintenance": {"uploadpurging": map[any]any{"enabled": false}},
	}}
	c.Log.Level = "panic"
	c.Log.AccessLog.Disabled = true
	c.HTTP.Addr = host
	c.HTTP.Secret = "one process, one secret"
	c.Catalog.MaxEntries, c.Tags.MaxTags = 1000, 1000
	if o.Dir == "" {
		c.Storage["inmemory"] = configuration.Parameters{}
	} else {
		c.Storage["filesystem"] = configuration.Parameters{"rootdirectory": o.Dir}
	}
	var tokens *TokenServer
	if o.Users != nil {
		if tokens, err = newTokenServer(host, o.Users); err != nil {
			l.Close()
			return nil, err
		}
		c.Auth = tokens.distributionAuth()
	}
	logrus.SetOutput(io.Discard) // distribution logs there as well
	s := serve(l, o.paged(handlers.NewApp(ctx, c)))
	s.Tokens = tokens
	return s, nil
}

// Olareg starts olareg, which has the referrers API and no catalog. It takes no
// Users.
func Olareg(o Options) (*Server, error) {
	if o.Users != nil {
		return nil, fmt.Errorf("olareg is not set up for users here")
	}
	l, err := loopback()
	if err != nil {
		return nil, err
	}
	yes := true
	c := config.Config{
		Storage: config.ConfigStorage{StoreType: config.StoreMem, GC: config.ConfigGC{Frequency: -1}},
		API: config.ConfigAPI{
			DeleteEnabled: &yes,
			Blob:          config.ConfigAPIBlob{DeleteEnabled: &yes},
			Referrer:      config.ConfigAPIReferrer{Limit: o.ReferrersLimit},
		},
		Log: slog.New(slog.DiscardHandler),
	}
	if o.Dir != "" {
		c.Storage.StoreType, c.Storage.RootDir = config.StoreDir, o.Dir
	}
	registry := olareg.New(c)
	s := serve(l, o.paged(registry))
	s.stop = append(s.stop, registry.Close)
	return s, nil
}
