package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ocifs/ocifs/cmd/ocifs/manual"
)

// helpCommand shows the help of a command, or a topic of the manual.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND|TOPIC]",
		Short: "Show the manual: a topic, or a command",
		Long:  "Show the help of a command, or a topic of the manual. Without an argument, say what commands and topics there are.",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			command, _, err := c.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, sub := range command.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			if len(args) == 0 {
				for _, t := range topics() {
					names = append(names, cobra.CompletionWithDesc(t.Name, t.Summary))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error { return help(c, args) },
	}
}

// help prints what 'ocifs help ARGS' is about.
func help(c *cobra.Command, args []string) error {
	command, rest, err := c.Root().Find(args)
	if err == nil && len(rest) == 0 {
		command.InitDefaultHelpFlag()
		return command.Help()
	}
	// Find gives the root for an argument that names no command.
	if len(args) == 1 {
		for _, t := range topics() {
			if t.Name == args[0] {
				_, err := fmt.Fprint(c.OutOrStdout(), t.Text(styleOf(c.OutOrStdout()).colour))
				return err
			}
		}
	}
	message := fmt.Sprintf("there is no command or topic %q", strings.Join(args, " "))
	if near := nearest(args[0], helpNames(c.Root())); near != "" {
		message += fmt.Sprintf(" (is 'ocifs help %s' meant?)", near)
	}
	return usageError{fmt.Errorf("%s; 'ocifs help' lists them", message)}
}

// helpNames are the names of the commands and topics.
func helpNames(root *cobra.Command) (names []string) {
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	for _, t := range topics() {
		names = append(names, t.Name)
	}
	return names
}

// topics is the manual, with the table of settings that the program itself works by.
func topics() []manual.Topic {
	return manual.Topics(map[string][]manual.Entry{"settings": settingsTable()})
}

// settingsTable is the settings of 'ocifs mount' for the manual.
func settingsTable() []manual.Entry {
	s := newSettings()
	var all []manual.Entry
	for _, row := range table {
		meaning := row.text
		if row.unset != "" {
			meaning += ". Default: " + row.unset
		}
		if row.places&^inOverall == byFlag {
			meaning += ". A flag alone"
		}
		all = append(all, manual.Entry{Term: flagTerm(row.letter, row.name, row.value(s).Type()), Meaning: meaning})
	}
	return all
}

// flagTerm is how the manual names a flag with its value.
func flagTerm(letter, name, kind string) string {
	term := "--" + name
	if letter != "" {
		term = "-" + letter + ", " + term
	}
	if kind != "" && kind != "bool" {
		term += " " + kind
	}
	return "`" + term + "`"
}

// listTopics makes the root's help name the topics.
func listTopics(root *cobra.Command) {
	var b strings.Builder
	for _, t := range topics() {
		fmt.Fprintf(&b, "\n  %-11s %s", t.Name, t.Summary)
	}
	root.SetUsageTemplate(root.UsageTemplate() + "{{if not .HasParent}}\nTopics of the manual, shown by 'ocifs help TOPIC':" + b.String() + "\n{{end}}")
}
