package transport

import (
	"context"
	"time"
)

const (
	// hurryWait is how long a server is waited for that asks for a wait where another
	// can be asked instead, hurryAnswer how long its answer is.
	hurryWait   = time.Second
	hurryAnswer = 10 * time.Second
)

type hurryKey struct{}

// Hurry makes requests with this context be given up early: there is another server
// that can be asked instead.
func Hurry(ctx context.Context) context.Context {
	return context.WithValue(ctx, hurryKey{}, true)
}

func hurried(ctx context.Context) bool { return ctx.Value(hurryKey{}) == true }

type onceKey struct{}

// Once makes requests with this context not be tried again where a connection is
// refused: that is what is expected.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

func once(ctx context.Context) bool { return ctx.Value(onceKey{}) == true }

type impatientKey struct{}

// Impatient makes the answers to requests with this context be waited for as short as
// in a hurry, but tried for as often as ever: something older can be had instead.
func Impatient(ctx context.Context) context.Context {
	return context.WithValue(ctx, impatientKey{}, true)
}

// answerWithin is how long an answer is waited for, where that would be so long.
func answerWithin(ctx context.Context, usual time.Duration) time.Duration {
	if hurried(ctx) || ctx.Value(impatientKey{}) == true {
		return min(usual, hurryAnswer)
	}
	return usual
}
