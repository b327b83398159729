package known

import (
	"testing"
	"time"

	"github.com/ocifs/ocifs/cache"
	"github.com/ocifs/ocifs/registry"
	"github.com/ocifs/ocifs/registry/registrytest"
)

// begun is what is known of a test's registry.
type begun struct {
	*Registries
	passed time.Duration // how far its clock is ahead
}

// begin knows nothing of a registry yet.
func begin(t *testing.T, s *registrytest.Server, o Options) *begun {
	t.Helper()
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.Store, o.Client = store, registry.New(registry.Options{PlainHTTP: []string{s.Host}, RetryMaxWait: 1})
	b := &begun{}
	o.Now = func() time.Time { return time.Now().Add(b.passed) }
	b.Registries = New(o)
	t.Cleanup(func() {
		b.Close()
		o.Client.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}
