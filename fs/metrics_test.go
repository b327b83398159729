package fs

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/fs/internal/metrics"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// families are those of .ocifs/metrics, with their labels.
var families = map[string]string{
	"ocifs_build_info": "version,goversion", "ocifs_mount_info": "source,mountpoint,verify", "ocifs_passthrough": "",
	"ocifs_cache_bytes": "", "ocifs_cache_limit_bytes": "", "ocifs_cache_partial_bytes": "", "ocifs_cache_entries": "", "ocifs_cache_open_blobs": "",
	"ocifs_cache_requests_total": "result", "ocifs_cache_evictions_total": "", "ocifs_cache_quarantined_total": "",
	"ocifs_downloads_total": "result", "ocifs_download_bytes_total": "host", "ocifs_downloads_in_progress": "", "ocifs_unpacked_bytes_total": "",
	"ocifs_uploads": "state", "ocifs_upload_bytes_total": "host", "ocifs_uploads_in_progress": "",
	"ocifs_registry_requests_total": "host,method,code", "ocifs_registry_request_duration_seconds": "host,method", "ocifs_registry_retries_total": "host,reason",
	"ocifs_registry_up": "host,server", "ocifs_registry_pulls_remaining": "host",
	"ocifs_fuse_operations_total": "op", "ocifs_fuse_operation_duration_seconds": "op", "ocifs_errors_total": "errno", "ocifs_panics_total": "",
	"process_start_time_seconds": "", "process_cpu_seconds_total": "", "process_resident_memory_bytes": "", "process_open_fds": "",
}

// sampled gives the values of a page by their lines up to the value: "name{label=\"value\"}".
func sampled(t *testing.T, page string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSuffix(line[at+1:], "\n"), 64)
		if _, twice := all[line[:at]]; twice || err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("the line %q (there already: %v): %v", line, twice, err)
		}
		all[line[:at]] = v
	}
	return all
}

// labelsOf gives the names of the labels of a sample, without those of buckets.
func labelsOf(sample string) string {
	_, labels, _ := strings.Cut(strings.TrimSuffix(sample, "}"), "{")
	var names []string
	for label := range strings.SplitSeq(labels, `",`) {
		if name, _, ok := strings.Cut(label, "="); ok && name != "le" {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// The families are those that are promised, each with its HELP and TYPE though nothing was done yet,
// in order.
func TestMetricsHaveTheirFamilies(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	var got []string
	for line := range strings.Lines(string(w.metrics())) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			got = append(got, name[:strings.IndexByte(name, ' ')])
		}
	}
	if want := slices.Sorted(maps.Keys(families)); !slices.Equal(got, want) {
		t.Errorf("the families are\n%q, want\n%q", got, want)
	}
	if n := strings.Count(string(w.metrics()), "# HELP "); n != len(families) {
		t.Errorf("%d families have a HELP, want all %d", n, len(families))
	}
}

// The metrics tell what a registry counted, what the cache did, and what failed, as stats.json does.
func TestMetricsTellWhatWasDone(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	blob := blobIn(s, "application/x", "the bytes of a blob")
	layer := blobIn(s, "application/x", "another")
	imageIn(s, "v1", blob, layer)
	w := walk(t, s, t.TempDir(), Options{TagTTL: time.Hour, ListTTL: time.Hour, Version: "v1.2", Host: ""})
	const repo = testRepo + "/"
	for range 2 { // the second time from the cache
		w.want(repo+"blobs/"+hexPath(blob.Digest), "the bytes of a blob")
	}
	w.fails(repo+"tags/none/digest", registry.ErrNotFound)
	w.fail(1, "a failure ")
	k := w.asKernel()
	k.lookup(".ocifs/version")
	// A blob is read before it has its place.
	for range 1000 {
		if len(w.store.Transfers()) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	got := sampled(t, string(w.metrics()))
	codes := map[string]float64{}
	for _, r := range s.Requests() {
		codes[fmt.Sprintf(`ocifs_registry_requests_total{host=%q,method=%q,code="%d"}`, s.Host, r.Method, r.Status)]++
	}
	want := map[string]float64{
		`ocifs_build_info{version="v1.2",goversion="` + runtime.Version() + `"}`: 1,
		`ocifs_mount_info{source="ocifs",mountpoint="",verify="whole"}`:          1,
		`ocifs_cache_entries`:                                                           1,
		`ocifs_cache_requests_total{result="hit"}`:                                      float64(w.store.Stats().Hits),
		`ocifs_cache_requests_total{result="miss"}`:                                     1,
		`ocifs_downloads_total{result="ok"}`:                                            1,
		`ocifs_downloads_total{result="failed"}`:                                        0,
		`ocifs_downloads_in_progress`:                                                   0,
		fmt.Sprintf(`ocifs_download_bytes_total{host=%q}`, s.Host):                      float64(blob.Size),
		fmt.Sprintf(`ocifs_registry_up{host=%q,server="http://%s/v2"}`, s.Host, s.Host): 1,
		`ocifs_errors_total{errno="EIO"}`:                                               1,
		`ocifs_panics_total`:                                                            0,
		`ocifs_fuse_operations_total{op="lookup"}`:                                      2,
		`ocifs_fuse_operation_duration_seconds_count{op="lookup"}`:                      2,
		`ocifs_fuse_operation_duration_seconds_bucket{op="lookup",le="+Inf"}`:           2,
	}
	maps.Copy(want, codes)
	for sample, v := range want {
		if n, there := got[sample]; n != v || !there {
			t.Errorf("%s is %g (there: %v), want %g", sample, n, there, v)
		}
	}
	if hits := got[`ocifs_cache_requests_total{result="hit"}`]; hits < 1 {
		t.Errorf("%g hits, want at least the second read", hits)
	}
	answered := 0.0
	for sample, v := range got {
		if strings.HasPrefix(sample, "ocifs_registry_requests_total{") && !strings.Contains(sample, `code="error"`) {
			answered += v
		}
		family, _, _ := strings.Cut(sample, "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(family, suffix); families[base] != "" {
				family = base
			}
		}
		if labels, known := families[family]; !known || labelsOf(sample) != labels {
			t.Errorf("%s has the labels %q, want %q", sample, labelsOf(sample), labels)
		}
	}
	if n := float64(s.Count("* *")); answered != n {
		t.Errorf("%g requests with an answer are counted, the registry counted %g", answered, n)
	}
}

// However many hosts are led to, and whatever they answer, the number of series has a bound.
func TestTrafficHasBoundedLabels(t *testing.T) {
	traffic := NewTraffic()
	for i := range 10 * maxHosts {
		host := fmt.Sprint("host", i)
		traffic.Exchanged(host, fmt.Sprint("METHOD", i), 600+i, time.Second)
		traffic.Downloaded(host, 1)
		traffic.Uploaded(host, 1)
		traffic.Retried(host, "status")
	}
	var p metrics.Page
	traffic.addTo(&p)
	var page strings.Builder
	if _, err := p.WriteTo(&page); err != nil {
		t.Fatal(err)
	}
	got := sampled(t, page.String())
	count, other := map[string]int{}, 10.0*maxHosts-maxHosts
	for sample := range got {
		family, _, _ := strings.Cut(sample, "{")
		count[family]++
	}
	for _, family := range []string{"ocifs_registry_requests_total", "ocifs_download_bytes_total", "ocifs_upload_bytes_total", "ocifs_registry_retries_total"} {
		if count[family] != maxHosts+1 {
			t.Errorf("%s has %d samples, want %d", family, count[family], maxHosts+1)
		}
	}
	if n := got[`ocifs_registry_requests_total{host="other",method="other",code="other"}`]; n != other {
		t.Errorf("%g requests are those of other hosts, want %g", n, other)
	}
}

// A registry that somebody named has its own series, however many hosts were led to before.
func TestNamedRegistriesKeepTheirLabel(t *testing.T) {
	traffic := NewTraffic()
	for i := range 2 * maxHosts {
		traffic.Downloaded(fmt.Sprint("host", i), 1)
	}
	traffic.Asks("ghcr.io")
	traffic.Downloaded("ghcr.io", 7)
	var p metrics.Page
	traffic.addTo(&p)
	var page strings.Builder
	if _, err := p.WriteTo(&page); err != nil {
		t.Fatal(err)
	}
	if n := sampled(t, page.String())[`ocifs_download_bytes_total{host="ghcr.io"}`]; n != 7 {
		t.Errorf("it has %g bytes, want 7:\n%s", n, &page)
	}
}

// The registries beyond the bound have one state together: that of the worst.
func TestTheStateOfOtherRegistriesIsThatOfTheWorst(t *testing.T) {
	h := hostState{up: map[string]bool{}}
	limit := func(n int) *registry.RateLimit { return &registry.RateLimit{Remaining: n} }
	h.add(registry.HostState{Servers: []registry.ServerState{{URL: "https://a"}}, Limit: limit(7)}, metrics.Other)
	h.add(registry.HostState{Servers: []registry.ServerState{{URL: "https://b", Down: "refused"}}, Limit: limit(3)}, metrics.Other)
	h.add(registry.HostState{Servers: []registry.ServerState{{URL: "https://c"}}, Limit: limit(5)}, metrics.Other)
	if !maps.Equal(h.up, map[string]bool{metrics.Other: false}) || *h.remaining != 3 {
		t.Errorf("servers are %v, %d pulls remain; want none up, and 3", h.up, *h.remaining)
	}
}

// stat takes a snapshot that the next open within a second gives, so that what is read has the size
// that stat told. An open alone is fresh.
func TestMetricsAreReadAsTheyWereLookedAt(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	k := w.asKernel()
	for path, failures := range map[string]string{".ocifs/metrics": `ocifs_errors_total{errno="EIO"} %d`, ".ocifs/stats.json": `"EIO": %d`} {
		failed := int(w.kernel.Failures().Count()["EIO"])
		looked := k.lookup(path)
		read, _ := k.open(path).read(0)
		if len(read) != int(looked.Size) {
			t.Errorf("%s: stat told %d bytes, and %d are read", path, looked.Size, len(read))
		}
		has := func(what string, n int) {
			t.Helper()
			if got, _ := k.open(path).read(0); !strings.Contains(got, fmt.Sprintf(failures, n)) {
				t.Errorf("%s: %s doesn't tell of %d failures:\n%s", path, what, n, got)
			}
		}
		w.fail(1, path)
		has("an open after an open", failed+1)
		k.lookup(path)
		w.fail(1, "more "+path)
		has("an open after stat", failed+1)
		k.lookup(path)
		w.fail(1, "yet more "+path)
		w.passed.Add(int64(2 * time.Second))
		has("an open two seconds after stat", failed+3)
	}
}

// The time of the metrics is that at which they were taken.
func TestTheTimeOfMetricsIsThatOfTheSnapshot(t *testing.T) {
	w := walk(t, registrytest.Start(t, registrytest.Options{}), t.TempDir(), Options{})
	k := w.asKernel()
	before := w.opts.now()
	out := k.lookup(".ocifs/metrics")
	at := time.Unix(int64(out.Mtime), int64(out.Mtimensec))
	if at.Before(before) || at.After(w.opts.now()) {
		t.Errorf("the time is %v, it was taken after %v", at, before)
	}
}
