//go:build !amd64 || boringcrypto

package lanes

func capable() bool { return false }

func hasSHA() bool { return false }

func blocks(*states, *[width]*byte, int) {}
