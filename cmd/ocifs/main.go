package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is what a person typed wrong: exit code 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// groups are the groups of commands in the help, each with the names of its commands.
var groups = []struct {
	id, title string
	commands  []string
}{
	{"mounts", "Mounts:", []string{"mount", "unmount", "status", "prefetch"}},
	{"upkeep", "Cache and diagnosis:", []string{"cache", "doctor"}},
	{"program", "The program itself:", []string{"help", "version", "completion"}},
}

func main() {
	completeEnvironment()
	ctx := takeSignals()
	code := make(chan int)
	go func() { code <- program(ctx) }() // elsewhere than on the thread for signals
	os.Exit(<-code)
}

// program runs what the command line says, and gives the exit code.
func program(ctx context.Context) (code int) {
	if isMountHelper(os.Args[0]) {
		return mountHelper(ctx, os.Args[0], os.Args[1:])
	}
	err := run(ctx, rootCommand(), &checkedOutput{File: os.Stdout})
	if err != nil {
		fmt.Fprintln(os.Stderr, "ocifs:", err)
	}
	return exitCode(ctx, err)
}

// run runs the command line. Text that couldn't be written to out is an error of the command.
func run(ctx context.Context, root *cobra.Command, out *checkedOutput) error {
	root.SetOut(out)
	if err := root.ExecuteContext(ctx); err != nil {
		return err
	}
	return out.failed()
}

// buildCommands make the commands that only a build with a tag has.
var buildCommands []func() *cobra.Command

// rootCommand is the command line as a whole.
func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "ocifs",
		Short:         "Mount OCI registries as a directory tree",
		Version:       versionString(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE:          needsCommand,
	}
	root.SetVersionTemplate("ocifs {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(mountCommand(), unmountCommand(), doctorCommand(), cacheCommand(), showCommand(), statusCommand(), stateCommand(), prefetchCommand(), versionCommand())
	for _, command := range buildCommands {
		root.AddCommand(command())
	}
	root.SetHelpCommand(helpCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range root.Commands() {
			if slices.Contains(g.commands, c.Name()) {
				c.GroupID = g.id
			}
		}
	}
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // cobra's own shows its help of a shell that it doesn't know, and ends with 0
			c.Args, c.RunE = cobra.ArbitraryArgs, needsCommand
		}
	}
	addCompletions(root)
	listTopics(root)
	return root
}

// needsCommand runs a command that does nothing itself: it shows its help, or tells of a name
// that none of the commands below it has.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}
	meant := ""
	if near := nearest(args[0], names); near != "" {
		meant = fmt.Sprintf(" (is '%s %s' meant?)", cmd.CommandPath(), near)
	}
	return usageError{fmt.Errorf("there is no command %q%s; see '%s --help'", cmd.CommandPath()+" "+args[0], meant, cmd.CommandPath())}
}

// flagError tells of a mistake in flags, and of the flag that may be meant.
func flagError(cmd *cobra.Command, err error) error {
	if args := cmd.Flags().Args(); cmd.HasSubCommands() && len(args) > 0 {
		return needsCommand(cmd, args) // the flag is one of the command that is misspelt
	}
	if unknown := new(pflag.NotExistError); errors.As(err, &unknown) {
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := nearest(unknown.GetSpecifiedName(), names); near != "" {
			err = fmt.Errorf("%w (is --%s meant?)", err, near)
		}
	}
	return usageError{fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())}
}

// noArguments is the check of a command that takes none. cobra's own calls an argument an unknown command.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("no argument is taken, and %q is given", args[0])
	}
	return nil
}

// arguments makes what a check of arguments finds a usage error.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{fmt.Errorf("%w; usage: %s", err, cmd.UseLine())}
		}
		return nil
	}
}
