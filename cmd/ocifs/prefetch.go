package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/fs"
	"github.com/ocifs/ocifs/fs/prefetch"
)

func prefetchCommand() *cobra.Command {
	c := &prefetchCall{progress: autoProgress}
	cmd := &cobra.Command{
		Use:   "prefetch PATH…",
		Short: "Bring what paths need into the cache",
		Long: `Bring into the cache what paths in a mount need, so that they are read without a
registry from then on. The mount downloads it, several things at once.

  an image (REPO/tags/v1)            its manifest, config and layers, packed. Its rootfs and its
                                     image.tar are made of them, when they are read
  an index                           the same of its image for --platform
  rootfs/ and unpacked/ of an image, the layers, unpacked: the first read needn't do that
  and directories in them
  a file in them                     the layer that it is in, and those that are looked into for it
  a blob, an archive                 that
  any other directory (REPO/tags)    all that is in it. Symlinks are followed

The image.tar of an index is of all its platforms: it needs --platform all.

What comes is kept as all of the cache is: for as long as there is room. 'ocifs cache
limit' makes room. Programs that read meanwhile share the downloads. An interrupt leaves
what came, and the next download goes on behind it.

Exit codes: 0, all is there; 1, something isn't; 2, an error of usage; 130, interrupted by SIGINT.
With --check: 0, all is there; 1, something is missing; 2, it can't be told.`,
		Example: `  ocifs prefetch ~/oci/docker.io/library/alpine/tags/latest
  ocifs prefetch --check ~/oci/ghcr.io/org/app/tags/v1/rootfs || echo not yet
  ocifs prefetch --background --files-from images.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.out, c.err, c.paths = cmd.OutOrStdout(), cmd.ErrOrStderr(), args
			ctx := cmd.Context()
			err := c.usage(ctx, cmd.InOrStdin())
			if ctx.Err() != nil {
				return interruptedError{"prefetch"}
			}
			if err != nil {
				return usageError{err}
			}
			err = c.run(ctx)
			switch {
			case ctx.Err() != nil:
				return interruptedError{"prefetch"}
			case c.ask.Check && err != nil && !errors.Is(err, errMissing):
				return usageError{err} // for its exit code
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.ask.Platform, "platform", "", "whose image of an index is brought: linux/amd64, or 'all'. Without it, that of the mount")
	f.StringVar(&c.filesFrom, "files-from", "", "a file with one path a line, beside those named; '-' is standard input")
	f.BoolVar(&c.ask.Check, "check", false, "print what is missing, and download nothing but manifests")
	f.BoolVar(&c.ask.Background, "background", false, "return at once, and let the mount go on; 'ocifs status' tells how far it is")
	f.Var(&c.progress, "progress", "how progress is shown on standard error: 'auto', bars on a terminal; 'plain', lines; 'none'")
	for flag, words := range map[string][]string{
		"progress": {string(autoProgress), string(plainProgress), string(noProgress)},
		"platform": append([]string{prefetch.AllPlatforms}, commonPlatforms...),
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			panic(err) // a flag that isn't there
		}
	}
	return cmd
}

// prefetchCall is one call of the command.
type prefetchCall struct {
	paths     []string
	filesFrom string
	ask       prefetch.Ask // without a path
	progress  progressMode
	out, err  io.Writer
}

// usage checks what was typed, and reads the list of paths. The end of ctx ends that.
func (c *prefetchCall) usage(ctx context.Context, stdin io.Reader) error {
	if c.ask.Check && c.ask.Background {
		return errors.New("--check and --background: which of the two is meant?")
	}
	if p := c.ask.Platform; p != "" && p != prefetch.AllPlatforms {
		if _, err := fs.ParsePlatform(p); err != nil {
			return fmt.Errorf("--platform: %w", err)
		}
	}
	listed, err := answerBefore(ctx, func() ([]string, error) { return readList(c.filesFrom, stdin) })
	if err != nil {
		return fmt.Errorf("--files-from: %w", err)
	}
	c.paths = append(c.paths, listed...)
	if len(c.paths) == 0 {
		return errors.New("no path is named; usage: ocifs prefetch PATH…")
	}
	return nil
}

// readList reads the paths of --files-from: of the file with that name, of stdin if it is "-", none if
// it is "". Empty lines count for nothing.
func readList(name string, stdin io.Reader) (paths []string, err error) {
	from := stdin
	switch name {
	case "":
		return nil, nil
	case "-":
	default:
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	s := bufio.NewScanner(from)
	for s.Scan() {
		if line := strings.TrimSuffix(s.Text(), "\r"); line != "" {
			paths = append(paths, line)
		}
	}
	return paths, s.Err()
}
