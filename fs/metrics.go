package fs

import (
	"bytes"
	"cmp"
	"runtime"

	"github.com/ocifs/ocifs/fs/internal/metrics"
	"github.com/ocifs/ocifs/fs/upload"
	"github.com/ocifs/ocifs/registry"
)

// metrics makes .ocifs/metrics. What stats.json tells too comes from the same counters.
func (t *Tree) metrics() []byte {
	var p metrics.Page
	p.Process()
	t.addMount(&p)
	t.addCache(&p)
	t.addUploads(&p)
	t.opts.Traffic.addTo(&p)
	t.addRegistries(&p)
	t.addKernel(&p)
	var b bytes.Buffer
	_, _ = p.WriteTo(&b) // a buffer takes all
	return b.Bytes()
}

// addMount adds what doesn't change while the mount is there.
func (t *Tree) addMount(p *metrics.Page) {
	p.Gauge("ocifs_build_info", "The version of ocifs, and of the Go that built it; always 1.", "version", "goversion").
		Set(1, t.opts.Version, runtime.Version())
	verify := "whole"
	if t.opts.Stream {
		verify = "stream"
	}
	mountpoint := ""
	if m := t.mountpoint.Load(); m != nil {
		mountpoint = *m
	}
	p.Gauge("ocifs_mount_info", "What is mounted, where, and how blobs are verified before they are read; always 1.", "source", "mountpoint", "verify").
		Set(1, cmp.Or(t.opts.Source, FSType), mountpoint, verify)
	p.Gauge("ocifs_passthrough", "1 if the kernel reads cached files by itself, 0 if each read is a request to ocifs.").
		Set(truth(t.kernel.PassesThrough()))
}

// truth is a value of a gauge.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (t *Tree) addCache(p *metrics.Page) {
	s := t.store.Stats()
	for _, g := range []struct {
		name, help string
		value      int64
	}{
		{"ocifs_cache_bytes", "Bytes of the disk that cached blobs take.", s.Bytes},
		{"ocifs_cache_limit_bytes", "Bytes of the disk that the cache may take now.", s.Limit},
		{"ocifs_cache_partial_bytes", "Bytes of the disk that downloads left, to be continued.", s.Partial},
		{"ocifs_cache_entries", "Blobs in the cache.", int64(s.Entries)},
		{"ocifs_cache_open_blobs", "Blobs of the cache that are open.", int64(s.Open)},
	} {
		p.Gauge(g.name, g.help).Set(float64(g.value))
	}
	requests := p.Counter("ocifs_cache_requests_total",
		"Blobs that were wanted: hit, in the cache; miss, a download began. Who waits for the download of another counts as neither.", "result")
	requests.Set(float64(s.Hits), "hit")
	requests.Set(float64(s.Misses), "miss")
	p.Counter("ocifs_cache_evictions_total", "Blobs that were removed to make room.").Set(float64(s.Evictions))
	p.Counter("ocifs_cache_quarantined_total", "Damaged blobs that were set aside.").Set(float64(s.Quarantined))
	downloads := p.Counter("ocifs_downloads_total", "Downloads of blobs that ended.", "result")
	downloads.Set(float64(s.Downloads), "ok")
	downloads.Set(float64(s.Failures), "failed")
	now := 0
	for _, tr := range t.store.Transfers() {
		if tr.Kind == "download" {
			now++
		}
	}
	p.Gauge("ocifs_downloads_in_progress", "Downloads of blobs under way.").Set(float64(now))
	p.Counter("ocifs_unpacked_bytes_total", "Bytes of layers and archives that were unpacked, as they are unpacked.").
		Set(float64(t.layers.Stats().Bytes))
}

func (t *Tree) addUploads(p *metrics.Page) {
	states := t.uploadStates()
	pushes := p.Gauge("ocifs_uploads", "Tags and digests that aren't at the registry: their push is under way, waits for pieces, failed, or was left by an earlier mount.", "state")
	for _, s := range []string{upload.Pushing, upload.Waiting, upload.Failed, upload.Left} {
		pushes.Set(float64(states[s]), s)
	}
	p.Gauge("ocifs_uploads_in_progress", "Uploads of blobs under way.").Set(float64(len(t.uploading())))
}

// hostState is what a page tells of a registry.
type hostState struct {
	up        map[string]bool // by the URL of the server
	remaining *int            // pulls; nil: it tells none
}

// addRegistries adds how the registries do that were asked. Of the hosts beyond maxHosts, which are
// one, the worst counts.
func (t *Tree) addRegistries(p *metrics.Page) {
	hosts := map[string]*hostState{}
	for _, s := range t.opts.Client.State() {
		label := t.hostLabels.Label(s.Host)
		h := hosts[label]
		if h == nil {
			h = &hostState{up: map[string]bool{}}
			hosts[label] = h
		}
		h.add(s, label)
	}
	up := p.Gauge("ocifs_registry_up", "1 if a server of a registry, its own or a mirror, answered the last request, 0 if it couldn't be reached.", "host", "server")
	remaining := p.Gauge("ocifs_registry_pulls_remaining", "Pulls that the registry still allows, as it said last.", "host")
	for label, h := range hosts {
		for server, is := range h.up {
			up.Set(truth(is), label, server)
		}
		if h.remaining != nil {
			remaining.Set(float64(*h.remaining), label)
		}
	}
}

func (h *hostState) add(s registry.HostState, label string) {
	for _, server := range s.Servers {
		url := server.URL
		if label == metrics.Other {
			url = metrics.Other
		}
		was, there := h.up[url]
		h.up[url] = server.Down == "" && (was || !there)
	}
	if s.Limit != nil && (h.remaining == nil || s.Limit.Remaining < *h.remaining) {
		h.remaining = &s.Limit.Remaining
	}
}

func (t *Tree) addKernel(p *metrics.Page) {
	operations := p.Counter("ocifs_fuse_operations_total", "Requests of the kernel, by FUSE's names. Reads that the kernel does by itself make none.", "op")
	durations := p.Histogram("ocifs_fuse_operation_duration_seconds", "Time until the kernel was answered, waits for registries included.", "op")
	for op, h := range t.kernel.Operations() {
		operations.Set(float64(h.Count()), op)
		durations.Distribution(h, op)
	}
	failures := p.Counter("ocifs_errors_total", "Failures, by the errno that programs got.", "errno")
	for errno, n := range t.kernel.Failures().Count() {
		failures.Set(float64(n), cmp.Or(errno, metrics.Other))
	}
	p.Counter("ocifs_panics_total", "Panics that were caught; each is a mistake in ocifs.").Set(float64(t.kernel.Panics()))
}
