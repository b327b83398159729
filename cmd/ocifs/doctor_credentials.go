package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// examineCredentials finds out where credentials are, and which one counts for the
// target, where there is one.
func (d *diagnosis) examineCredentials(ctx context.Context, t target) (auth.Source, auth.Credential) {
	told := &teller{}
	source := auth.Default(slog.New(told))
	d.do(ctx, "known", func(context.Context) check {
		hosts := auth.Hosts(source)
		if len(hosts) == 0 {
			return fine("there are none: %s", strings.Join(auth.Searched(source, t.asked()), ", "))
		}
		return fine("there are some for %s", strings.Join(hosts, ", "))
	})
	var cred auth.Credential
	if t.host != "" {
		cred, _ = find(ctx, d, "used", checkFor, func(ctx context.Context) (auth.Credential, check) {
			cred, err := source.Credential(ctx, t.asked())
			switch {
			case err != nil:
				return cred, unknown("", "the credential for %s: %v", t.name(), err)
			case cred.Empty():
				return cred, fine("none for %s, which is asked as nobody: %s", t.name(), strings.Join(auth.Searched(source, t.asked()), ", "))
			}
			return cred, fine("%s is asked with the credential of %s", t.name(), cred.Origin)
		})
	}
	for _, w := range told.all() {
		d.do(ctx, "problem", func(context.Context) check { return w })
	}
	return source, cred
}

// asked is the repository that the target's credential is looked for.
func (t target) asked() ref.Repository {
	if t.repo != (ref.Repository{}) {
		return t.repo
	}
	return ref.Repository{Host: t.host}
}

// name is the target without its tag.
func (t target) name() string {
	if t.repo != (ref.Repository{}) {
		return t.repo.String()
	}
	return t.host
}

// teller keeps what is logged as checks that found a problem.
type teller struct {
	mu   sync.Mutex
	told []check
}

var _ = (slog.Handler)((*teller)(nil))

func (t *teller) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (t *teller) Handle(_ context.Context, r slog.Record) error {
	text, next := r.Message, ""
	r.Attrs(func(a slog.Attr) bool {
		switch v := a.Value.String(); a.Key {
		case "hint":
			next = v
		default:
			text += fmt.Sprintf("; %s: %s", a.Key, v)
		}
		return true
	})
	if next == "" {
		next = "mend what it names: the rest counts; or log in again"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told = append(t.told, warning(next, "%s", text))
	return nil
}

// WithAttrs and WithGroup: nobody whom doctor listens to uses them.
func (t *teller) WithAttrs([]slog.Attr) slog.Handler { return t }
func (t *teller) WithGroup(string) slog.Handler      { return t }

func (t *teller) all() []check {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.told
}
