// Command ocifs mounts OCI registries as a directory tree.
//
//	ocifs mount [SOURCE] MOUNTPOINT    mount; returns when the mount answers
//	ocifs unmount MOUNTPOINT…          unmount; returns when the mounts are gone; -a: all of this user
//	ocifs status [MOUNTPOINT…]         what mounts do: transfers, pushes, cache, errors; --watch, --json
//	ocifs prefetch PATH…               bring what paths need into the cache; --check, --background
//	ocifs doctor [HOST[/REPOSITORY]]   what keeps a mount or a registry from working
//	ocifs cache stats|verify|prune|clear|limit    the cache, while mounts use it or not
//	ocifs help [COMMAND|TOPIC]         the manual, whose texts are in the package manual
//	ocifs version                      the version, the commit, Go; --json
//	ocifs completion bash|zsh|fish|powershell
//
// SOURCE picks the root of the tree: nothing (every registry), a host (ghcr.io)
// or a repository (ghcr.io/org/app).
//
// mount starts a daemon: the command runs itself again in the foreground form,
// as the leader of a session of its own, and waits until that one says over a
// pipe that the mount answers, or what went wrong. With -f the command is the
// daemon. SIGINT, SIGTERM and an unmount from outside end it with exit code 0.
//
// status asks each mount from a child process, and gives it up after some seconds: see asking.
// prefetch asks the mount by package fs/prefetch.
//
// Usage errors end with exit code 2, what SIGINT interrupts with 130, what SIGTERM interrupts with 143 (a mount with 1),
// all others with 1, each with a sentence: see exitCode.
package main
