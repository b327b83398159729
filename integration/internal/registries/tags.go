package registries

import (
	"encoding/json"
	"net/http"
	"net/url"
	"sort"
	"strconv"
)

// Tagged starts a registry of nothing but a list of tags, which is the same for every
// repository. It gives page tags at once at most, and that many where the client names
// no number. It is for lists so long that distribution's own way to a page, which reads
// a directory of all tags, would be what takes the time. The tags are sorted.
func Tagged(tags []string, page int) (*Server, error) {
	l, err := loopback()
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte("{}"))
	})
	mux.HandleFunc("GET /v2/", func(w http.ResponseWriter, r *http.Request) {
		for _, e := range endpoints {
			if m := e.re.FindStringSubmatch(r.URL.Path); m != nil && e.kind == Tags {
				listPage(w, r, tags, page, func(some []string) any { return map[string]any{"name": m[1], "tags": some} })
				return
			}
		}
		http.NotFound(w, r)
	})
	return serve(l, mux), nil
}

// listPage answers with one page of a sorted list of names, of which page stand on one at
// most. body gives the answer's JSON.
func listPage(w http.ResponseWriter, r *http.Request, names []string, page int, body func(some []string) any) {
	n := page
	if asked := r.URL.Query().Get("n"); asked != "" {
		var err error
		if n, err = strconv.Atoi(asked); err != nil || n < 1 {
			http.Error(w, `{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}`, http.StatusBadRequest)
			return
		}
		n = min(n, page)
	}
	last := r.URL.Query().Get("last")
	rest := names[sort.Search(len(names), func(i int) bool { return names[i] > last }):]
	some := rest[:min(n, len(rest))]
	w.Header().Set("Content-Type", "application/json")
	if len(some) < len(rest) {
		next := url.URL{Path: r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(n)}, "last": {some[n-1]}}.Encode()}
		w.Header().Set("Link", "<"+next.String()+`>; rel="next"`)
	}
	json.NewEncoder(w).Encode(body(some))
}
