package registry

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/ocifs/ocifs/registry/ref"
)

// How long it is believed of a server that it lacks something. Whoever runs it may change that
// at any time, and to find out costs a request.
const (
	// noReferrersFor is for the referrers API. It is believed of a repository: some registries
	// answer the same for one that they don't have.
	noReferrersFor = 5 * time.Minute
	// noTagListFor is for several tags of one manifest in one request.
	noTagListFor = 5 * time.Minute
	// chunksFor is for a blob in one piece, and for a blob that is sent while it is written.
	chunksFor = 5 * time.Minute
	// wrongFor is for a blob that a mirror, or a URL of its descriptor, had wrong.
	wrongFor = time.Hour
	// urlFor is for a blob that a repository lacked, and a URL of its descriptor had.
	urlFor = 5 * time.Minute
)

// maxLearnt bounds each list of what was learnt: people name hosts, and a client may live for
// weeks. What wasn't needed for the longest time goes first, and is learnt again.
const maxLearnt = 4096

// maxWarnings bounds the texts that are remembered as logged.
const maxWarnings = 100

// learnt is what a client has found out about servers, so that it needn't ask again. It is safe
// for concurrent use. mu guards all of it, and is held for no other lock.
type learnt struct {
	mu          sync.Mutex
	healths     *simplelru.LRU[string, *health]           // by the server's host:port
	limits      *simplelru.LRU[string, RateLimit]         // by the registry's host
	noReferrers *simplelru.LRU[ref.Repository, time.Time] // repositories without the referrers API, and until when that is believed
	noTagList   *simplelru.LRU[string, time.Time]         // hosts that take one tag at a time, and until when
	chunked     *simplelru.LRU[string, chunked]           // hosts that don't take a blob in one piece
	notAhead    *simplelru.LRU[string, time.Time]         // hosts that don't take a blob while it is written, and until when
	wrong       *simplelru.LRU[hostAndDigest, time.Time]  // blobs that mirrors had wrong, and until when they aren't asked for them
	urls        *simplelru.LRU[ofRepository, foundURL]    // blobs that repositories lacked, and a URL of their descriptor had
	warned      map[string]bool                           // warnings that were logged, by host and text
}

// hostAndDigest is a blob of some repository of a registry.
type hostAndDigest struct {
	host   string
	digest digest.Digest
}

// ofRepository is a blob of one repository.
type ofRepository struct {
	repository ref.Repository
	digest     digest.Digest
}

// foundURL is the URL that had a blob, and until when that is believed.
type foundURL struct {
	url   string
	until time.Time
	wrong bool // its bytes weren't those of the digest
}

// chunked is what is known of a host that doesn't take blobs in one piece, or parts of any size.
type chunked struct {
	until time.Time
	over  int64 // bytes of the smallest blob that was refused in one piece; math.MaxInt64: none was
	chunk int64 // bytes of a part that was taken
}

func newLearnt() *learnt {
	return &learnt{
		healths: newLRU[string, *health](), limits: newLRU[string, RateLimit](),
		noReferrers: newLRU[ref.Repository, time.Time](), noTagList: newLRU[string, time.Time](), chunked: newLRU[string, chunked](),
		notAhead: newLRU[string, time.Time](), wrong: newLRU[hostAndDigest, time.Time](), urls: newLRU[ofRepository, foundURL](), warned: map[string]bool{},
	}
}

func newLRU[K comparable, V any]() *simplelru.LRU[K, V] {
	l, err := simplelru.NewLRU[K, V](maxLearnt, nil)
	if err != nil {
		panic(err) // the size is positive
	}
	return l
}

// health gives how a server host:port is doing, one record for all who ask.
func (l *learnt) health(server string) *health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.healths.Get(server)
	if !ok {
		h = &health{}
		l.healths.Add(server, h)
	}
	return h
}

// hasReferrers says whether a repository may have the referrers API.
func (l *learnt) hasReferrers(r ref.Repository) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, _ := l.noReferrers.Get(r)
	return time.Now().After(until)
}

func (l *learnt) lacksReferrers(r ref.Repository) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noReferrers.Add(r, time.Now().Add(noReferrersFor))
}

// takesTags says whether a host may take several tags in one request.
func (l *learnt) takesTags(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, _ := l.noTagList.Get(host)
	return time.Now().After(until)
}

func (l *learnt) lacksTags(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noTagList.Add(host, time.Now().Add(noTagListFor))
}

// takesAhead says whether a host may take a blob while it is written.
func (l *learnt) takesAhead(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, _ := l.notAhead.Get(host)
	inChunks, _ := l.chunked.Get(host)
	now := time.Now()
	return !now.Before(until) && !now.Before(inChunks.until)
}

func (l *learnt) lacksAhead(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notAhead.Add(host, time.Now().Add(chunksFor))
}

// chunk gives the bytes of one part that a host takes, 0 if any number may do. inParts says that
// it doesn't take a blob of that size in one piece.
func (l *learnt) chunk(host string, size int64) (chunk int64, inParts bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.chunked.Get(host)
	if !ok || time.Now().After(known.until) {
		return 0, false
	}
	return known.chunk, size >= known.over && size > 0
}

// wantsChunks takes note that a host takes blobs from over bytes on in parts of chunk bytes.
func (l *learnt) wantsChunks(host string, over, chunk int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if known, ok := l.chunked.Get(host); ok && now.Before(known.until) {
		over = min(over, known.over)
	}
	l.chunked.Add(host, chunked{now.Add(chunksFor), over, chunk})
}

// hadWrong takes note that a mirror of a registry had a blob wrong.
func (l *learnt) hadWrong(host string, d digest.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong.Add(hostAndDigest{host, d}, time.Now().Add(wrongFor))
}

// isWrong says whether a mirror of a registry had a blob wrong.
func (l *learnt) isWrong(host string, d digest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, _ := l.wrong.Get(hostAndDigest{host, d})
	return time.Now().Before(until)
}

// urlOf gives the URL that had a blob that its repository lacked; "": none is known. wrong says that
// its bytes weren't those of the digest.
func (l *learnt) urlOf(r ref.Repository, d digest.Digest) (url string, wrong bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, _ := l.foundURL(r, d)
	return found.url, found.wrong
}

// foundURL gives what urlOf believes; ok is false if that is nothing. mu is held.
func (l *learnt) foundURL(r ref.Repository, d digest.Digest) (found foundURL, ok bool) {
	found, ok = l.urls.Get(ofRepository{r, d})
	if !ok || time.Now().After(found.until) {
		return foundURL{}, false
	}
	return found, true
}

// hasURL takes note of the URL that had a blob that its repository lacks. What is known of that URL
// stays as it is, so that the repository is asked again in time.
func (l *learnt) hasURL(r ref.Repository, d digest.Digest, url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.foundURL(r, d); !ok || found.url != url {
		l.urls.Add(ofRepository{r, d}, foundURL{url: url, until: time.Now().Add(urlFor)})
	}
}

// lacksURL takes note that a URL doesn't have a blob.
func (l *learnt) lacksURL(r ref.Repository, d digest.Digest, url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.foundURL(r, d); ok && found.url == url && !found.wrong {
		l.urls.Remove(ofRepository{r, d})
	}
}

// hadWrongURL takes note that the URL that had a blob had it wrong. ok is false if none is known, and
// if that one is known to be wrong: then the bytes weren't its own alone.
func (l *learnt) hadWrongURL(r ref.Repository, d digest.Digest) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found, ok := l.foundURL(r, d)
	if !ok || found.wrong {
		return false
	}
	l.urls.Add(ofRepository{r, d}, foundURL{url: found.url, until: time.Now().Add(wrongFor), wrong: true})
	return true
}

// isNews says whether a host's warning wasn't logged yet. It answers so once.
func (l *learnt) isNews(host, warning string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := host + " " + warning
	if l.warned[key] || len(l.warned) >= maxWarnings {
		return false
	}
	l.warned[key] = true
	return true
}

// limit gives the last rate limit that a registry told.
func (l *learnt) limit(registry string) (RateLimit, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limits.Get(registry)
}

// limited takes note of the rate limit that an answer of a registry tells.
func (l *learnt) limited(registry string, h http.Header) {
	limit, window, ok := parseLimit(h.Get("RateLimit-Limit"))
	remaining, _, ok2 := parseLimit(h.Get("RateLimit-Remaining"))
	if !ok || !ok2 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits.Add(registry, RateLimit{limit, remaining, window, plain(h.Get("Docker-RateLimit-Source")), time.Now().UTC()})
}

// parseLimit reads "100;w=21600": a number, and the seconds that it is for.
func parseLimit(v string) (n, window int, ok bool) {
	number, params, _ := strings.Cut(v, ";")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n < 0 {
		return 0, 0, false
	}
	for p := range strings.SplitSeq(params, ";") {
		if w, is := strings.CutPrefix(strings.TrimSpace(p), "w="); is {
			if window, err = strconv.Atoi(w); err != nil || window < 0 {
				window = 0
			}
		}
	}
	return n, window, true
}
