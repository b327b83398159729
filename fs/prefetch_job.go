package fs

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/fs/internal/caller"
	"github.com/ocifs/ocifs/fs/internal/guard"
	"github.com/ocifs/ocifs/fs/internal/layers"
	"github.com/ocifs/ocifs/fs/internal/node"
	"github.com/ocifs/ocifs/fs/prefetch"
)

// job is the work on one ask.
type job struct {
	*session
	ask      prefetch.Ask
	ctx      context.Context // has the payer
	platform *v1.Platform    // nil: all
}

// itemKey tells items apart: a layer is needed packed, unpacked, or both.
type itemKey struct {
	digest   digest.Digest
	unpacked bool
}

// item is something that a session needs. session.mu guards it.
type item struct {
	prefetch.Item
	active bool // it is being brought
}

// newJob makes the job of an ask, charged to its caller.
func (s *session) newJob(a prefetch.Ask, by caller.Caller) (job, error) {
	j := job{session: s, ask: a, ctx: s.ctx, platform: &s.tree.opts.Platform}
	switch a.Platform {
	case "":
	case prefetch.AllPlatforms:
		j.platform = nil
	default:
		p, err := ParsePlatform(a.Platform)
		if err != nil {
			return job{}, err
		}
		j.platform = &p
	}
	if a.Background {
		j.ctx = s.sessions.ctx
	}
	j.ctx = guard.WithPayer(j.ctx, guard.PayerOf(by))
	return j, nil
}

// run finds what the ask needs, and brings it.
func (j job) run() {
	defer j.end()
	defer func() {
		if p := recover(); p != nil {
			j.tree.kernel.Panicked(p, debug.Stack())
			j.fail(j.ask.Path, errors.New("it panicked; the log has the stack"))
		}
	}()
	var all []need
	n := &needs{
		walker: walker{tree: j.tree, here: j.ask.Check, within: j.watch}, platform: j.platform,
		found:  func(n need) { all = j.add(all, n) },
		failed: j.fail,
	}
	at, e, err := n.follow(j.ctx, ways{j.tree.root}, j.ask.Path)
	if err == nil {
		err = n.of(j.ctx, at, e, 0)
	}
	if err != nil {
		j.fail(j.ask.Path, err)
	}
	if j.ask.Check {
		j.check(all)
		return
	}
	var bringing sync.WaitGroup
	for _, n := range all {
		select {
		case j.slots <- struct{}{}:
		case <-j.ctx.Done():
			bringing.Wait()
			return
		}
		bringing.Add(1)
		j.begin(func() {
			defer bringing.Done()
			defer func() { <-j.slots }()
			j.bring(n)
		})
	}
	bringing.Wait()
}

func (j job) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.state.Ended++
}

// watch shows what comes of the layers of a tree, before it is known which of them the path needs.
func (j job) watch(root *treeDir) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for k := range root.image.Len() {
		key := itemKey{root.image.Packed(k), true}
		if j.items[key] == nil {
			j.items[key] = &item{}
		}
	}
}

// add adds a need to those of the job, unless the session has it already.
func (j job) add(all []need, n need) []need {
	n.Path = j.ask.Path
	j.mu.Lock()
	defer j.mu.Unlock()
	key := itemKey{n.Digest, n.Kind == layerNeed}
	if i := j.items[key]; i != nil && i.Digest != "" {
		return all
	}
	j.items[key] = &item{Item: n.Item}
	j.state.Found++
	j.state.TotalBytes = prefetch.Sum(j.state.TotalBytes, n.Total)
	return append(all, n)
}

// check finds out which needs are here.
func (j job) check(all []need) {
	for _, n := range all {
		here := n.here()
		j.mu.Lock()
		if here {
			j.arrived(n)
		} else {
			j.lack(n.Item)
		}
		j.mu.Unlock()
	}
}

// arrived counts a need that is here. mu is held.
func (j job) arrived(n need) {
	j.state.Here++
	j.state.DoneBytes = prefetch.Sum(j.state.DoneBytes, n.Total)
}

// lack adds something that is missing. mu is held.
func (j job) lack(i prefetch.Item) {
	if j.state.Lacking++; len(j.state.Missing) < prefetch.MaxMissing {
		j.state.Missing = append(j.state.Missing, i)
	}
}

// bring brings one need.
func (j job) bring(n need) {
	j.mu.Lock()
	i := j.items[itemKey{n.Digest, n.Kind == layerNeed}]
	i.active = true
	j.mu.Unlock()
	err := errors.New("it panicked; the log has the stack")
	defer func() {
		j.mu.Lock()
		i.active = false
		if err == nil {
			j.arrived(n)
		}
		j.mu.Unlock()
		if err != nil {
			j.fail(j.ask.Path, err)
		}
	}()
	err = n.bring(j.ctx)
}

// fail reports a failure, to the session and in errors.jsonl. What a check didn't find here is
// missing, and no failure. What ended with the session isn't reported.
func (j job) fail(path string, err error) {
	if j.ctx.Err() != nil {
		return
	}
	if j.ask.Check && errors.Is(err, layers.ErrNotHere) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.lack(prefetch.Item{Path: j.ask.Path, Name: err.Error(), Kind: layerNeed, Total: -1})
		return
	}
	v := j.tree.kernel.Judge(j.ctx, err)
	j.tree.kernel.Fail(j.ctx, path, "prefetch", err)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state.Failed++; len(j.state.Failures) < prefetch.MaxFailures {
		j.state.Failures = append(j.state.Failures, prefetch.Failure{Path: path, Errno: node.ErrnoName(v.Errno), Cause: err.Error(), Hint: v.Hint})
	}
}

// now gives the state of this moment.
func (s *session) now() prefetch.State {
	transfers := s.tree.store.Transfers()
	limit := s.tree.store.Stats().Limit
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.state
	st.LimitBytes = limit
	st.Active = []prefetch.Item{}
	st.Missing = append([]prefetch.Item{}, st.Missing...)
	st.Failures = append([]prefetch.Failure{}, st.Failures...)
	if st.Asked == st.Ended {
		return st
	}
	for _, t := range transfers {
		st.DoneBytes = prefetch.Sum(st.DoneBytes, s.come(t))
		if i := s.concerned(t.Digest); i != nil && len(st.Active) < prefetch.MaxActive {
			st.Active = append(st.Active, prefetch.Item{Path: i.Path, Name: i.Name, Kind: t.Kind, Digest: t.Digest, Done: t.Done, Total: t.Size})
		}
	}
	return st
}

// come gives how many bytes have come of the items that are brought by a transfer. mu is held.
func (s *session) come(t cache.Transfer) (n int64) {
	if t.Kind != "download" {
		return 0
	}
	for _, unpacked := range []bool{false, true} {
		if i := s.items[itemKey{t.Digest, unpacked}]; i != nil && i.active {
			n += min(t.Done, i.Total)
		}
	}
	return n
}

// concerned gives an item of the session with a digest; nil: there is none. mu is held.
func (s *session) concerned(d digest.Digest) *item {
	if i := s.items[itemKey{d, true}]; i != nil {
		return i
	}
	return s.items[itemKey{d, false}]
}
