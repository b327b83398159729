package cache

// step is called at each crash point: behind each step by which something gets to its place on
// the disk, or goes from there. It does nothing: a test dies there, or waits.
var step = func(name string) {}
