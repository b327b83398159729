// Package transport holds the ways of a registry client with HTTP, one
// RoundTripper each. They are stacked by package registry, from the outside in:
//
//	Follow   goes where a redirect leads, by the policy for addresses
//	Retry    tries again what may pass, and waits as it is told
//	Plain    speaks http where a loopback host doesn't speak https
//	Idle     ends answers that fall silent
//
// Only GET and HEAD are repeated or redirected. Every RoundTripper is safe for
// concurrent use.
package transport
