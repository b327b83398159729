// Package transport holds the ways of a registry client with HTTP, one
// RoundTripper each. They are stacked by package registry, from the outside in:
//
//	Identity asks for bodies as they are, and decodes what is compressed all the same
//	Follow   goes where a redirect leads, by the policy for addresses
//	Retry    tries again what may pass, and waits as it is told
//	Plain    speaks http where a loopback host doesn't speak https
//	Observe  tells what goes over the wire
//	Idle     ends exchanges that fall silent
//
// What is repeated or redirected needs a body that can be had again, by GetBody.
// Only GET, HEAD and what has Plan.Repeats is repeated. Every RoundTripper is safe
// for concurrent use.
package transport
