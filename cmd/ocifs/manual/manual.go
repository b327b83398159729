// Package manual is the manual of ocifs: one text for each topic, in a small part of
// Markdown, which a forge shows as it is. [Topic.Text] renders a topic for a terminal
// ('ocifs help TOPIC'), [Topic.Markdown] gives it to the generator of man pages.
//
// # What a text may contain
//
//   - a first line "# NAME: SUMMARY"; NAME is the name of the file
//   - headings ("## …", "### …"), paragraphs, and lists ("- …" or "1. …", whose further
//     lines are indented)
//   - code between fences. A block marked "console" is a transcript: tests run the lines
//     that begin with "$ ", and compare what they print
//   - tables of two columns: the term and what it means. The head is for the forge alone
//   - `code`, **strong** and *emphasis* within a line
//   - a line "<!-- NAME -->", in whose place a generated table stands
package manual

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.md
var files embed.FS

// order is the names of the topics, as a newcomer reads them.
var order = []string{
	"tree", "inside", "pushing", "errors", "caching", "mirrors", "settings", "fstab", "units", "monitoring", "macos",
}

// Topic is one text of the manual.
type Topic struct {
	// Name is what 'ocifs help' calls it; its man page is ocifs-NAME(7).
	Name string
	// Summary is one line without a full stop.
	Summary string

	body string // the text behind the first line
}

// Entry is a row of a table: a term, and what it means. Both are Markdown.
type Entry struct{ Term, Meaning string }

// Topics gives all topics in order. The tables of generated, by their names, stand where
// a text has a line "<!-- NAME -->".
func Topics(generated map[string][]Entry) []Topic {
	var topics []Topic
	for _, name := range order {
		text, err := files.ReadFile(name + ".md")
		if err != nil {
			panic(err) // the texts are part of the program
		}
		first, body, _ := strings.Cut(string(text), "\n")
		_, summary, _ := strings.Cut(first, ": ")
		for table, entries := range generated {
			body = strings.ReplaceAll(body, "<!-- "+table+" -->\n", markdownTable(entries))
		}
		topics = append(topics, Topic{Name: name, Summary: summary, body: strings.TrimSpace(body) + "\n"})
	}
	return topics
}

// markdownTable writes entries as a table.
func markdownTable(entries []Entry) string {
	var b strings.Builder
	b.WriteString("| | |\n|---|---|\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.ReplaceAll(e.Term, "|", `\|`), strings.ReplaceAll(e.Meaning, "|", `\|`))
	}
	return b.String()
}
