package fs

import (
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ocifs/ocifs/fs/internal/metrics"
	"github.com/ocifs/ocifs/registry"
)

// Traffic counts what a registry.Client does on the wire, for .ocifs/metrics. It is the client's
// Options.Observer, and the Options.Traffic of the tree that has the client. It is safe for concurrent
// use.
type Traffic struct {
	hosts      *metrics.Names
	requests   *metrics.Vec[requestLabels, atomic.Int64]
	durations  *metrics.Vec[hostAndMethod, metrics.Histogram]
	retries    *metrics.Vec[hostAndReason, atomic.Int64]
	downloaded *metrics.Vec[string, atomic.Int64] // bytes, by host
	uploaded   *metrics.Vec[string, atomic.Int64] // bytes, by host
}

var _ registry.Observer = (*Traffic)(nil)

type (
	requestLabels struct{ host, method, code string }
	hostAndMethod struct{ host, method string }
	hostAndReason struct{ host, reason string }
)

// maxHosts bounds the registries that have series of their own, here and for their state, and, apart
// from them, the hosts where they lead: a registry may redirect to any number of hosts, and a person
// may look up any. An exchange with one host leaves some 20 series.
const maxHosts = 64

// NewTraffic makes a Traffic.
func NewTraffic() *Traffic {
	counter := func() *atomic.Int64 { return new(atomic.Int64) }
	return &Traffic{
		hosts:    metrics.NewNames(maxHosts),
		requests: metrics.NewVec[requestLabels](counter),
		durations: metrics.NewVec[hostAndMethod](func() *metrics.Histogram {
			// A registry near by answers within 10 ms, one far away within 500 ms. A
			// request is given up after 30 s; longer ones send or hash a large blob.
			return metrics.NewHistogram(10*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond,
				time.Second, 5*time.Second, 30*time.Second)
		}),
		retries:    metrics.NewVec[hostAndReason](counter),
		downloaded: metrics.NewVec[string](counter),
		uploaded:   metrics.NewVec[string](counter),
	}
}

// Asks keeps a label for a host that somebody named.
func (t *Traffic) Asks(host string) { t.hosts.Reserve(host) }

// Exchanged counts a request.
func (t *Traffic) Exchanged(host, method string, status int, took time.Duration) {
	host, method = t.hosts.Label(host), methodLabel(method)
	t.requests.At(requestLabels{host, method, codeLabel(status)}).Add(1)
	t.durations.At(hostAndMethod{host, method}).Observe(took)
}

// Retried counts a retry.
func (t *Traffic) Retried(host, reason string) {
	t.retries.At(hostAndReason{t.hosts.Label(host), reason}).Add(1)
}

// Downloaded counts bytes of blobs that came.
func (t *Traffic) Downloaded(host string, bytes int) {
	t.downloaded.At(t.hosts.Label(host)).Add(int64(bytes))
}

// Uploaded counts bytes of blobs that left.
func (t *Traffic) Uploaded(host string, bytes int) {
	t.uploaded.At(t.hosts.Label(host)).Add(int64(bytes))
}

// methods are those that the distribution specification uses.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

func methodLabel(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return metrics.Other
}

// codeLabel is the label of a status; 0 stands for a request without an answer.
func codeLabel(status int) string {
	switch {
	case status == 0:
		return "error"
	case status < 100 || status > 599: // HTTP has none (RFC 9110, section 15)
		return metrics.Other
	}
	return strconv.Itoa(status)
}

// addTo adds the families to a page. A nil Traffic has no samples.
func (t *Traffic) addTo(p *metrics.Page) {
	requests := p.Counter("ocifs_registry_requests_total",
		"Requests to registries, servers of tokens and where redirects lead, each that was sent, by the status of its answer; error: there was none.",
		"host", "method", "code")
	durations := p.Histogram("ocifs_registry_request_duration_seconds",
		"Time from the beginning of a request to the header of its answer, or to its failure.", "host", "method")
	retries := p.Counter("ocifs_registry_retries_total", "Requests and parts of blobs that were tried again after a failure.", "host", "reason")
	downloaded := p.Counter("ocifs_download_bytes_total", "Bytes of blobs that came, by the host that sent them.", "host")
	uploaded := p.Counter("ocifs_upload_bytes_total", "Bytes of blobs that were sent, those that were sent again too.", "host")
	if t == nil {
		return
	}
	for l, n := range t.requests.All() {
		requests.Set(float64(n.Load()), l.host, l.method, l.code)
	}
	for l, h := range t.durations.All() {
		durations.Distribution(h, l.host, l.method)
	}
	for l, n := range t.retries.All() {
		retries.Set(float64(n.Load()), l.host, l.reason)
	}
	for host, n := range t.downloaded.All() {
		downloaded.Set(float64(n.Load()), host)
	}
	for host, n := range t.uploaded.All() {
		uploaded.Set(float64(n.Load()), host)
	}
}
