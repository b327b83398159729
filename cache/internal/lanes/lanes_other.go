//go:build !amd64

package lanes

func capable() bool { return false }

func hasSHA() bool { return false }

func sixteen(*states, *[width]*byte, int) {}

func eight(*states, *[width]*byte, int) {}
