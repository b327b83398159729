package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/ocifs/ocifs/integration/internal/content"
	"github.com/ocifs/ocifs/integration/internal/registries"
)

// scraped are the samples of .ocifs/metrics by "family" or "family value value", with the values of the
// labels. A histogram is the number of what it counted.
type scraped map[string]float64

// scrape reads .ocifs/metrics as Prometheus does, and checks that it has nothing to complain of.
func (m *mounted) scrape() scraped {
	m.t.Helper()
	text := m.sh("cat $M/.ocifs/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		m.t.Fatalf("expfmt: %v in\n%s", err, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		m.t.Errorf("promlint: %v, %v", problems, err)
	}
	all := scraped{}
	var order []string
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			order = append(order, name[:strings.IndexByte(name, ' ')])
		}
	}
	if !slices.IsSorted(order) || !strings.HasSuffix(text, "\n") {
		m.t.Errorf("the families aren't sorted, or the last line isn't whole: %q", order)
	}
	for name, family := range families {
		for _, sample := range family.GetMetric() {
			k := name
			for _, l := range sample.GetLabel() {
				k += " " + l.GetValue()
			}
			if _, twice := all[k]; twice || sample.TimestampMs != nil {
				m.t.Errorf("%s is there twice (%v), or has a timestamp", k, twice)
			}
			switch family.GetType() {
			case dto.MetricType_COUNTER:
				all[k] = sample.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				all[k] = sample.GetGauge().GetValue()
			case dto.MetricType_HISTOGRAM:
				all[k] = float64(sample.GetHistogram().GetSampleCount())
			default:
				m.t.Errorf("%s is of the type %v", name, family.GetType())
			}
		}
	}
	return all
}

// sum adds up the samples of a family for which keep says so, by the values of their labels.
func (s scraped) sum(family string, keep func(labels []string) bool) (n float64) {
	for k, v := range s {
		if f := strings.Fields(k); f[0] == family && keep(f[1:]) {
			n += v
		}
	}
	return n
}

// The requests in .ocifs/metrics are those that the registry counted, whatever they were for and
// whatever became of them: reads, tokens, failures, retries and pushes. So are the bytes of blobs.
func TestMetricsCountAsTheRegistry(t *testing.T) {
	t.Parallel()
	protected(t, func(t *testing.T, s *registries.Server, image content.Manifest) {
		m := testMount(t, mounting{setup: dockerLogin(t, s, "jane", jane["jane"])})
		s.Forget()
		if s.Tokens != nil {
			s.Tokens.Forget()
		}
		layer := image.Layers[1]
		read := m.at(s, testImage, "blobs/sha256", layer.Digest.Encoded())
		m.sh("cat %s/manifest.json %s", m.at(s, testImage, "tags/v1"), read)
		before := m.scrape()
		cold := len(s.Requests())
		m.sh("cat %s | cmp - %[1]s", read)
		if n := len(s.Requests()); n != cold {
			t.Errorf("what is cached cost %d requests", n-cold)
		}
		after := m.scrape()
		if before["ocifs_cache_requests_total miss"] != after["ocifs_cache_requests_total miss"] ||
			before["ocifs_registry_requests_total "+s.Host+" GET 200"] != after["ocifs_registry_requests_total "+s.Host+" GET 200"] {
			t.Error("what is cached counts as a miss, or as a request")
		}
		m.run("cat " + m.at(s, testImage, "tags/none/digest"))
		s.Fault(registries.Fault{Method: "GET", Path: "/tags/list", Status: 502, Times: 1})
		m.sh("ls %s", m.at(s, testImage, "tags"))
		s.Fault(registries.Fault{Path: "/team/broken/manifests", Status: 500})
		m.run("cat " + m.at(s, "team/broken/tags/v1/digest"))
		m.sh("cat %s/etc/os-release", m.at(s, testImage, "tags/v1/rootfs"))
		m.sh("head -c 300000 /dev/urandom >%s", m.at(s, "team/pushed", "upload/blobs/x"))
		m.sh("cp -r %s %s", m.at(s, testImage, "tags/v1"), m.at(s, "team/pushed", "upload/v1"))

		got, want := m.scrape(), map[string]float64{}
		var downloaded, uploaded float64
		for _, r := range s.Requests() {
			want[fmt.Sprintf("ocifs_registry_requests_total %s %s %d", s.Host, r.Method, r.Status)]++
			if r.Kind == registries.Blob && r.Method == "GET" && (r.Status == 200 || r.Status == 206) {
				downloaded += float64(r.Bytes)
			}
			if r.Kind == registries.Upload {
				uploaded += float64(r.Sent)
			}
		}
		answered := map[string]float64{}
		for k, v := range got {
			if strings.HasPrefix(k, "ocifs_registry_requests_total "+s.Host+" ") && !strings.HasSuffix(k, " error") {
				answered[k] = v
			}
		}
		if !maps.Equal(answered, want) {
			t.Errorf("the requests are\n%v, want\n%v", answered, want)
		}
		if s.Tokens != nil {
			elsewhere := got.sum("ocifs_registry_requests_total", func(l []string) bool { return l[0] != s.Host && l[2] != "error" })
			if n := float64(len(s.Tokens.Requests())); elsewhere != n || n == 0 {
				t.Errorf("%g requests for tokens are counted, want %g", elsewhere, n)
			}
		}
		timed := got.sum("ocifs_registry_request_duration_seconds", func([]string) bool { return true })
		if all := got.sum("ocifs_registry_requests_total", func([]string) bool { return true }); timed != all {
			t.Errorf("%g requests have a duration, want all %g", timed, all)
		}
		for k, v := range map[string]float64{
			"ocifs_download_bytes_total " + s.Host:                      downloaded,
			"ocifs_upload_bytes_total " + s.Host:                        uploaded,
			"ocifs_uploads failed":                                      0,
			"ocifs_uploads_in_progress":                                 0,
			"ocifs_panics_total":                                        0,
			"ocifs_registry_up " + s.Host + " http://" + s.Host + "/v2": 1,
			// One that was answered with 502 once, and those of one that always was with 500.
			"ocifs_registry_retries_total " + s.Host + " status": 1 + 3,
		} {
			if n, there := got[k]; n != v || !there {
				t.Errorf("%s is %g (there: %v), want %g", k, n, there, v)
			}
		}
		if n := got["ocifs_unpacked_bytes_total"]; n < 1024 {
			t.Errorf("%g bytes were unpacked, want some layer", n)
		}
		if got["ocifs_errors_total EREMOTEIO"] < 1 {
			t.Error("the failure isn't counted")
		}
		for _, op := range []string{"lookup", "open", "opendir", "getattr", "write", "release"} {
			if got["ocifs_fuse_operations_total "+op] < 1 || got["ocifs_fuse_operations_total "+op] != got["ocifs_fuse_operation_duration_seconds "+op] {
				t.Errorf("%g of %s are counted, and %g timed", got["ocifs_fuse_operations_total "+op], op, got["ocifs_fuse_operation_duration_seconds "+op])
			}
		}
		var stats struct {
			PID   int
			Cache struct{ Hits, Misses, Downloads float64 }
		}
		if err := json.Unmarshal([]byte(m.sh("cat $M/.ocifs/stats.json")), &stats); err != nil {
			t.Fatal(err)
		}
		now := m.scrape()
		for k, v := range map[string]float64{
			"ocifs_cache_requests_total miss": stats.Cache.Misses, "ocifs_cache_requests_total hit": stats.Cache.Hits,
			"ocifs_downloads_total ok": stats.Cache.Downloads,
		} {
			if now[k] != v {
				t.Errorf("%s is %g, stats.json has %g", k, now[k], v)
			}
		}
		fds := float64(len(m.list(fmt.Sprintf("/proc/%d/fd", stats.PID))))
		if n := now["process_open_fds"]; n < 5 || n > fds+20 {
			t.Errorf("the process has %g descriptors open, /proc has %g", n, fds)
		}
	})
}

// Programs that look at the size of .ocifs/metrics before they read it get as many bytes, and none
// complains that the file changed. Two scrapes on end never get the same figures.
func TestMetricsAreReadWhole(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	must(repo(t, s, testImage).Image(t.Context(), "v1", content.Sample("v1")))(t)
	m := testMount(t, mounting{source: s.Host})
	do := m.shell()
	do("cd $M/.ocifs")
	for range 3 {
		m.sh("cat $M/team/app/tags/v1/manifest.json >/dev/null; cat $M/nothing/tags/v1/digest; true")
		for _, reads := range []string{
			"[ $(stat -c %s metrics) = $(cat metrics | wc -c) ]",
			"[ $(stat -c %s metrics) = $(wc -c <metrics) ]",
			"tar c metrics | tar xO | grep -q ^ocifs_panics_total", "cp metrics $HOME/copy", "cp -a metrics $HOME/copy", "rsync -t metrics $HOME/copy",
			"ln -sf $PWD/metrics $HOME/ocifs.prom && [ $(stat -L -c %s $HOME/ocifs.prom) = $(cat $HOME/ocifs.prom | wc -c) ]",
			"dd if=metrics bs=100 status=none | tail -n 1 | grep -q ^process_start",
			"cat metrics >$HOME/one && ! cmp -s $HOME/one metrics", // one after the other: two that look at once may get the same
		} {
			if out := do(reads + " && echo all"); out != "all\n" {
				t.Errorf("%s: %q", reads, out)
			}
		}
	}
	if got := m.scrape(); got["ocifs_mount_info "+s.Host+" "+m.Dir+" whole"] != 1 {
		t.Errorf("the mount isn't told: %v", slices.Sorted(maps.Keys(got)))
	}
}
