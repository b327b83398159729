//go:build man

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ocifs/ocifs/cmd/ocifs/manual"
)

// A build with the tag man has one more command, which writes the man pages: the
// generator stays out of the program. 'make man' runs it.
func init() {
	buildCommands = append(buildCommands, func() *cobra.Command {
		return &cobra.Command{
			Use:    "man DIR",
			Short:  "Write the man pages",
			Hidden: true,
			Args:   arguments(cobra.ExactArgs(1)),
			RunE:   func(_ *cobra.Command, args []string) error { return writeManPages(args[0]) },
		}
	})
}

// pages is where man pages go, and what a page's head and foot say of it.
type pages struct {
	dir  string
	date time.Time
}

// writeManPages writes a page for each command (ocifs-mount.1), for each topic
// (ocifs-tree.7), and mount.ocifs.8. The pages have the date of SOURCE_DATE_EPOCH, so that
// one commit always makes the same bytes.
//
// cobra's own generator isn't used: it knows of no topics, and its lists of flags are hard
// to read (--read-only[=false]).
func writeManPages(dir string) error {
	p := pages{dir: dir, date: time.Now()}
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		n, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		p.date = time.Unix(n, 0)
	}
	root := rootCommand()
	for _, topic := range topics() {
		if err := p.write("ocifs-"+topic.Name, 7, topic.Page("ocifs-"+topic.Name)); err != nil {
			return err
		}
		if topic.Name == "fstab" {
			if err := p.write("mount.ocifs", 8, topic.Page("mount.ocifs")); err != nil {
				return err
			}
		}
	}
	return p.command(root)
}

// fallbacks are groff's requests for what stands where a device, as that of the locale C, has no such
// character. It leaves them out else.
const fallbacks = `.fchar \[u2026] ...
.fchar \[u2192] ->
.fchar \[u2713] +
.fchar \[OK] +
.fchar \[u2717] x
.fchar \[u251C] |
.fchar \[u2514] \(ga
.fchar \[u2500] -
.fchar \[u2502] |
`

// write renders a page from its Markdown.
func (p pages) write(name string, section int, markdown string) error {
	title := fmt.Sprintf("%% %q %q %q %q %q\n", strings.ToUpper(name), strconv.Itoa(section), p.date.UTC().Format(time.DateOnly), "ocifs "+version, "ocifs")
	return os.WriteFile(filepath.Join(p.dir, fmt.Sprintf("%s.%d", name, section)), append([]byte(fallbacks), md2man.Render([]byte(title+markdown))...), 0o644)
}

// command writes the page of a command, and those of the commands in it.
func (p pages) command(c *cobra.Command) error {
	if err := p.write(pageName(c), 1, commandPage(c)); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() || sub.Name() == "help" {
			continue
		}
		if err := p.command(sub); err != nil {
			return err
		}
	}
	return nil
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// commandPage is a command's page as Markdown.
func commandPage(c *cobra.Command) string {
	var b strings.Builder
	section := func(title string) { b.WriteString("\n\n# " + title + "\n") }
	fmt.Fprintf(&b, "# NAME\n%s - %s", pageName(c), literally(c.Short))
	section("SYNOPSIS")
	fmt.Fprintf(&b, "`%s`", c.UseLine())
	section("DESCRIPTION")
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	b.WriteString(paragraphsOf(text))
	related := []string{"**ocifs(1)**"}
	if !c.HasParent() {
		related = nil
	}
	if c.HasAvailableSubCommands() {
		section("COMMANDS")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, "`%s`\n: %s\n\n", strings.TrimPrefix(sub.UseLine(), "ocifs "), literally(sub.Short))
			}
			if sub.IsAvailableCommand() && sub.Name() != "help" {
				related = append(related, "**"+pageName(sub)+"(1)**")
			}
		}
	}
	if options := flagsTable(c.NonInheritedFlags()); len(options) > 0 {
		section("OPTIONS")
		for _, o := range options {
			fmt.Fprintf(&b, "%s\n: %s\n\n", o.Term, literally(o.Meaning))
		}
	}
	if c.Example != "" {
		section("EXAMPLES")
		b.WriteString("```\n" + c.Example + "\n```\n")
	}
	if !c.HasParent() {
		section("EXIT STATUS")
		b.WriteString("0: it went well. 2: what was typed is wrong. 1: everything else. A command's own page says where it is otherwise.")
	}
	section("SEE ALSO")
	if !c.HasParent() {
		for _, t := range topics() {
			related = append(related, "**ocifs-"+t.Name+"(7)**")
		}
		related = append(related, "**mount.ocifs(8)**")
	}
	b.WriteString(strings.Join(related, ", ") + "\n")
	return b.String()
}

// flagsTable is flags for the manual.
func flagsTable(flags *pflag.FlagSet) []manual.Entry {
	var all []manual.Entry
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, text := pflag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			text += ". Default: " + f.DefValue
		}
		all = append(all, manual.Entry{Term: flagTerm(f.Shorthand, f.Name, kind), Meaning: text})
	})
	return all
}

// paragraphsOf is a command's text as Markdown: what is indented in it, such as a table,
// stays as it is.
func paragraphsOf(text string) string {
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if strings.HasPrefix(p, "  ") {
			paragraphs[i] = "```\n" + p + "\n```"
		} else {
			paragraphs[i] = literally(p)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// literally escapes what Markdown would take for marks.
func literally(text string) string {
	return strings.NewReplacer("*", `\*`, "_", `\_`, "<", `\<`, "[", `\[`, "`", "\\`").Replace(text)
}
