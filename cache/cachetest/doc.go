// Package cachetest has what tests of a cache need: a disk that fails.
package cachetest
