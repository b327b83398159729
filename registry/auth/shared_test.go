package auth

import (
	"context"
	"strings"
	"testing"
)

// A panic in shared work is one of each who waits for it, and of nobody else.
func TestAPanicIsThatOfThoseWhoWait(t *testing.T) {
	var s shared[string, int]
	func() {
		defer func() {
			if p, _ := recover().(string); !strings.Contains(p, "a bug") || !strings.Contains(p, "shared_test.go") {
				t.Errorf("recovered %q", p)
			}
		}()
		v, err := s.do(t.Context(), "k", func(context.Context) (int, error) { panic("a bug") })
		t.Errorf("got %d, %v", v, err)
	}()
	if v, err := s.do(t.Context(), "k", func(context.Context) (int, error) { return 7, nil }); v != 7 || err != nil {
		t.Errorf("afterwards %d, %v", v, err)
	}
}
