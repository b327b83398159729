// Package metrics writes what a program counts as Prometheus reads it: the text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format). It has no
// dependency: client_golang brings protobuf, and more code than this program has for its metrics.
//
// # Nouns
//
// An instrument counts while the program works: an atomic.Int64, a Histogram, or a Vec, which has
// one of these for each set of label values. To count costs some atomic additions, no lock and no
// allocation; a Vec takes a read lock to find the instrument.
//
// A Page is what one scrape gets: families, each with its samples. It is made for the scrape, out of
// the instruments and of what the program knows anyway, and then written.
//
// # Labels
//
// The number of label values must have a bound, because Prometheus keeps a series for each. Names
// bounds the values that others choose.
package metrics
