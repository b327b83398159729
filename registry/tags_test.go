package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/registry/ref"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// scripted is a page of a list: its body, and its Links. "@" in them is the registry.
type scripted struct {
	body  string
	links []string
}

// scripts has lists of a kind answered by pages, each by its number as the query: "?1".
// The first has none.
func scripts(s *registrytest.Server, kind string, pages ...scripted) {
	s.On("GET "+kind, func(x *registrytest.Exchange, _ func() *registrytest.Answer) *registrytest.Answer {
		n := 0
		if x.URL.RawQuery != "" {
			if _, err := fmt.Sscanf(x.URL.RawQuery, "%d", &n); err != nil {
				return registrytest.Plain(http.StatusBadRequest, "")
			}
		}
		if n >= len(pages) {
			return registrytest.Plain(http.StatusNotFound, "")
		}
		a := registrytest.Plain(http.StatusOK, pages[n].body, "Content-Type", "application/json")
		for _, l := range pages[n].links {
			a.Header.Add("Link", strings.ReplaceAll(l, "@", s.URL))
		}
		return a
	})
}

// allTags gives all tags, by pages, up to an error.
func allTags(t *testing.T, c *Client, r ref.Repository) (pages [][]string, err error) {
	for page, err := range c.TagPages(t.Context(), r) {
		if err != nil {
			return pages, err
		}
		pages = append(pages, page.Tags)
	}
	return pages, nil
}

func tagged(names ...string) string {
	b, err := json.Marshal(map[string]any{"name": "a/b", "tags": names})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Nobody is told how long a page is to be: what is asked for is the list, and then
// what its Links say.
//
// Behaviour: list.n
func TestNoPageSizeIsAskedFor(t *testing.T) {
	s, c, r := reading(t, registrytest.Options{Traits: registrytest.Traits{Referrers: true}})
	d := s.Image(r.Path, "v1", []byte(layer))
	if _, err := allTags(t, c, r); err != nil {
		t.Error(err)
	}
	if err := first(c.Catalog(t.Context(), r.Host)); err != nil {
		t.Error(err)
	}
	if _, err := c.Referrers(t.Context(), r, d, ""); err != nil {
		t.Error(err)
	}
	s.Want("GET tags", "GET catalog", "GET referrers")
	for _, q := range s.Requests() {
		if q.Query != "" {
			t.Errorf("%s?%s", q, q.Query)
		}
	}
	s.Forget()
	scripts(s, "tags", scripted{tagged("a"), []string{`<?1>; rel="next"`}}, scripted{tagged("b"), nil})
	if _, err := allTags(t, c, r); err != nil {
		t.Error(err)
	}
	if q := s.Requests(); len(q) != 2 || q[0].Query != "" || q[1].Query != "1" {
		t.Errorf("%+v", q)
	}
}

// A list ends where no Link goes on, however long its pages are. Order and duplicates
// are the registry's.
//
// Behaviour: list.pages
func TestAListIsOfAllItsPages(t *testing.T) {
	next := func(n int) []string { return []string{fmt.Sprintf(`<?%d>; rel="next"`, n)} }
	for name, test := range map[string]struct {
		pages []scripted
		want  [][]string
	}{
		"one":             {[]scripted{{tagged("a", "b"), nil}}, [][]string{{"a", "b"}}},
		"of all sizes":    {[]scripted{{tagged("a", "b", "c"), next(1)}, {tagged("d"), next(2)}, {tagged("e", "f"), nil}}, [][]string{{"a", "b", "c"}, {"d"}, {"e", "f"}}},
		"an empty one":    {[]scripted{{tagged("a"), next(1)}, {tagged([]string{}...), next(2)}, {tagged("b"), nil}}, [][]string{{"a"}, nil, {"b"}}},
		"null at the end": {[]scripted{{tagged("a"), next(1)}, {`{"tags":null}`, nil}}, [][]string{{"a"}, nil}},
		"null at first":   {[]scripted{{`{"tags":null}`, next(1)}, {tagged("a"), nil}}, [][]string{nil, {"a"}}},
		"null":            {[]scripted{{`{"name":"a/b","tags":null}`, nil}}, [][]string{nil}},
		"the field gone":  {[]scripted{{`{"name":"a/b"}`, nil}}, [][]string{nil}},
		"empty":           {[]scripted{{`{"name":"a/b","tags":[]}`, nil}}, [][]string{nil}},
		"unsorted, twice": {[]scripted{{tagged("b", "a", "b"), next(1)}, {tagged("a", "B"), nil}}, [][]string{{"b", "a", "b"}, {"a", "B"}}},
		"more fields":     {[]scripted{{`{"tags":["a"],"Tags":["x"],"manifest":{"sha256:x":{"tag":["y"]}},"child":[]}`, nil}}, [][]string{{"a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			scripts(s, "tags", test.pages...)
			got, err := allTags(t, c, r)
			if err != nil || !slices.EqualFunc(got, test.want, slices.Equal[[]string]) {
				t.Errorf("%q, %v", got, err)
			}
			if n := s.Count("GET tags"); n != len(test.pages) {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// The Link that goes on is found among others, however it is written, and stays where
// the list is.
//
// Behaviour: list.pages, address.pages
func TestTheNextPageIsFound(t *testing.T) {
	const path = "/v2/a/b/tags/list"
	for name, test := range map[string]struct {
		links []string
		want  bool // there is a second page
		err   error
	}{
		"relative to the page":       {[]string{`<?1>; rel="next"`}, true, nil},
		"relative to the directory":  {[]string{`<list?1>; rel="next"`}, true, nil},
		"of the path":                {[]string{`<` + path + `?1>; rel="next"`}, true, nil},
		"absolute":                   {[]string{`<@` + path + `?1>; rel="next"`}, true, nil},
		"of the host":                {[]string{`<//HOST` + path + `?1>; rel="next"`}, true, nil},
		"without quotes":             {[]string{`<?1>; rel=next`}, true, nil},
		"without spaces":             {[]string{`<?1>;rel="next"`}, true, nil},
		"with more":                  {[]string{` <?1> ; title="a, <b>; rel=prev" ; REL = "next" `}, true, nil},
		"in capitals":                {[]string{`<?1>; Rel="NEXT"`}, true, nil},
		"several rels":               {[]string{`<?1>; rel="last  next"`}, true, nil},
		"several links":              {[]string{`<?7>; rel="prev", <?1>; rel="next", <?8>; rel="last"`}, true, nil},
		"several headers":            {[]string{`<?7>; rel="prev"`, `<?1>; rel="next"`}, true, nil},
		"commas in the address":      {[]string{`<?1,2;rel="prev">; rel="next"`}, true, nil},
		"a quote in a title":         {[]string{`<?7>; title="a\", <?8>; rel=next"; rel="prev", <?1>; rel="next"`}, true, nil},
		"no rel":                     {[]string{`<?1>`}, false, nil},
		"another rel":                {[]string{`<?1>; rel="prev"`}, false, nil},
		"a rel that only looks so":   {[]string{`<?1>; rel="nextish"`}, false, nil},
		"in a title":                 {[]string{`<?1>; title="; rel=next"; rel="prev"`}, false, nil},
		"the first rel counts":       {[]string{`<?1>; rel="prev"; rel="next"`}, false, nil},
		"no brackets":                {[]string{`?1; rel="next"`}, false, nil},
		"nothing":                    {[]string{``}, false, nil},
		"itself":                     {[]string{`<>; rel="next"`}, false, ErrServer},
		"another host":               {[]string{`<http://registry.example` + path + `?1>; rel="next"`}, false, ErrServer},
		"another port":               {[]string{`<http://127.0.0.1:1` + path + `?1>; rel="next"`}, false, ErrServer},
		"another scheme":             {[]string{`<https://HOST` + path + `?1>; rel="next"`}, false, ErrServer},
		"no address of http":         {[]string{`<file:///etc/passwd>; rel="next"`}, false, ErrServer},
		"no address":                 {[]string{`<http://[::1>; rel="next"`}, false, ErrServer},
		"a page that isn't there":    {[]string{`<?9>; rel="next"`}, false, ErrServer},
		"a page that can't be asked": {[]string{`<?x>; rel="next"`}, false, ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			for i, l := range test.links {
				test.links[i] = strings.ReplaceAll(l, "HOST", s.Host)
			}
			scripts(s, "tags", scripted{tagged("a"), test.links}, scripted{tagged("b"), nil})
			got, err := allTags(t, c, r)
			if !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			if len(got) == 2 != test.want {
				t.Errorf("%q", got)
			}
		})
	}
}

// A registry behind a TLS proxy that calls its pages http is asked for them by https.
//
// Behaviour: list.pages, address.pages
func TestPagesStayEncrypted(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true})
	for name, test := range map[string]struct {
		link string
		want error
	}{
		"its host and port": {"http://" + s.Host, nil},
		"its host":          {"http://127.0.0.1", nil},
		"another port":      {"http://127.0.0.1:81", ErrServer},
		"another host":      {"http://localhost", ErrServer},
	} {
		t.Run(name, func(t *testing.T) {
			c := configure(t, "", Options{}, map[string][]byte{s.Host + "/ca.crt": s.CA})
			scripts(s, "tags", scripted{tagged("a"), []string{`<` + test.link + `/v2/a/b/tags/list?1>; rel="next"`}}, scripted{tagged("b"), nil})
			got, err := allTags(t, c, ref.Repository{Host: s.Host, Path: "a/b"})
			if !errors.Is(err, test.want) || (len(got) == 2) != (test.want == nil) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// Pages in a circle, and pages without end, are an error soon.
//
// Behaviour: list.pages, address.pages
func TestPagesThatNeverEndAreAnError(t *testing.T) {
	next := func(n int) []string { return []string{fmt.Sprintf(`<?%d>; rel="next"`, n)} }
	for name, test := range map[string]struct {
		pages []scripted
		asked int
	}{
		"to itself":           {[]scripted{{tagged("a"), []string{`</v2/a/b/tags/list>; rel="next"`}}}, 1},
		"back to the first":   {[]scripted{{tagged("a"), next(1)}, {tagged("b"), []string{`</v2/a/b/tags/list>; rel="next"`}}}, 2},
		"back to the second":  {[]scripted{{tagged("a"), next(1)}, {tagged("b"), next(2)}, {tagged("c"), next(1)}}, 3},
		"the second for ever": {[]scripted{{tagged("a"), next(1)}, {tagged("b"), next(1)}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			scripts(s, "tags", test.pages...)
			if got, err := allTags(t, c, r); !errors.Is(err, ErrServer) {
				t.Errorf("%q, %v", got, err)
			}
			if n := s.Count("GET tags"); n != test.asked {
				t.Errorf("%d requests", n)
			}
		})
	}
	for name, tags := range map[string][]string{"empty": nil, "the same over again": {"a", "b"}} {
		t.Run(name, func(t *testing.T) {
			s, c, r := reading(t, registrytest.Options{})
			scripts(s, "tags", scripted{tagged(tags...), nil})
			s.On("GET tags", registrytest.EndlessPages())
			if _, err := allTags(t, c, r); !errors.Is(err, ErrServer) {
				t.Error(err)
			}
			if n := s.Count("GET tags"); n > maxNoNews+2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// An empty repository is none that is missing; a list that is refused, or is none, is
// an error and no list.
//
// Behaviour: list.pages
func TestWhatIsNoListOfTags(t *testing.T) {
	for name, test := range map[string]struct {
		quirk registrytest.Quirk
		want  error
	}{
		"NAME_UNKNOWN":     {registrytest.Refuse(http.StatusNotFound, "NAME_UNKNOWN"), ErrNotFound},
		"Harbor's 404":     {registrytest.Refuse(http.StatusNotFound, "NOT_FOUND"), ErrNotFound},
		"NAME_INVALID":     {registrytest.Refuse(http.StatusBadRequest, "NAME_INVALID"), ErrNotFound},
		"404":              {registrytest.Status(http.StatusNotFound, "404 page not found"), ErrUnsupported},
		"another 404":      {registrytest.Refuse(http.StatusNotFound, "MANIFEST_UNKNOWN"), ErrUnsupported},
		"UNSUPPORTED":      {registrytest.Refuse(http.StatusBadRequest, "UNSUPPORTED"), ErrUnsupported},
		"501":              {registrytest.Status(http.StatusNotImplemented, ""), ErrUnsupported},
		"401":              {registrytest.Status(http.StatusUnauthorized, ""), ErrDenied},
		"403":              {registrytest.Refuse(http.StatusForbidden, "DENIED"), ErrDenied},
		"500":              {registrytest.Status(http.StatusInternalServerError, ""), ErrServer},
		"405":              {registrytest.Status(http.StatusMethodNotAllowed, ""), ErrUnsupported},
		"HTML":             {registrytest.Status(http.StatusOK, "<html>"), ErrServer},
		"nothing":          {registrytest.Status(http.StatusOK, ""), ErrServer},
		"a list of JSON":   {registrytest.Status(http.StatusOK, `["a"]`), ErrServer},
		"tags are a map":   {registrytest.Status(http.StatusOK, `{"tags":{"a":1}}`), ErrServer},
		"tags are numbers": {registrytest.Status(http.StatusOK, `{"tags":[1]}`), ErrServer},
	} {
		s, c, r := reading(t, registrytest.Options{})
		s.On("GET tags", test.quirk)
		if got, err := allTags(t, c, r); !errors.Is(err, test.want) || len(got) > 0 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// What goes wrong with a page is made up for there: the pages before it aren't got
// again, and none is left out.
//
// Behaviour: list.pages
func TestAPageThatFailsIsGotAgain(t *testing.T) {
	for name, test := range map[string]struct {
		quirk registrytest.Quirk
		waits time.Duration
	}{
		"breaks off":       {registrytest.Cut(3), 0},
		"reset":            {registrytest.Reset(), 0},
		"reset in the mid": {registrytest.ResetAfter(3), 0},
		"500":              {registrytest.Status(http.StatusInternalServerError, ""), 0},
		"429":              {registrytest.Busy(http.StatusTooManyRequests, time.Second), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c, r := reading(t, registrytest.Options{})
			scripts(s, "tags", scripted{tagged("a"), []string{`<?1>; rel="next"`}}, scripted{tagged("b"), []string{`<?2>; rel="next"`}}, scripted{tagged("c"), nil})
			s.Nth(2, "GET tags", test.quirk)
			began := time.Now()
			got, err := allTags(t, c, r)
			if err != nil || !slices.EqualFunc(got, [][]string{{"a"}, {"b"}, {"c"}}, slices.Equal[[]string]) {
				t.Errorf("%q, %v", got, err)
			}
			if waited := time.Since(began); waited < test.waits {
				t.Errorf("it waited %s", waited)
			}
			queries := []string{}
			for _, q := range s.Requests() {
				queries = append(queries, q.Query)
			}
			if !slices.Equal(queries, []string{"", "1", "1", "2"}) {
				t.Errorf("asked for %q", queries)
			}
		})
	}
}

// Tags come one by one, over all pages, and no page is asked for that nobody reads.
func TestTagsComeOneByOne(t *testing.T) {
	s, c := newFixture(t)
	s.Change(func(tr *registrytest.Traits) { tr.Page = 2 })
	s.SetTags(s.repo.Path, "a", "b", "c", "d", "e")
	var got []string
	for tag, err := range c.Tags(t.Context(), s.repo) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, tag); tag == "c" {
			break
		}
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	s.want(c, "GET tags", "GET tags")
	for tag, err := range c.Tags(t.Context(), ref.Repository{Host: s.Host, Path: "no/such"}) {
		if tag != "" || !errors.Is(err, ErrNotFound) {
			t.Errorf("%q, %v", tag, err)
		}
	}
}
