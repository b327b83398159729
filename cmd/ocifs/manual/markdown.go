package manual

import "strings"

// Markdown is the topic's text for the generator of man pages, which knows more of
// Markdown, but makes tables that are wider than a terminal: tables are lists of
// definitions there.
func (t Topic) Markdown() string {
	var b strings.Builder
	b.WriteString("# NAME\nocifs-" + t.Name + " - " + t.Summary + "\n\n# DESCRIPTION\n")
	for _, part := range blocks(t.body) {
		switch part.kind {
		case heading:
			b.WriteString(strings.Repeat("#", part.level-1) + " " + part.text + "\n\n")
		case paragraph:
			b.WriteString(part.text + "\n\n")
		case item:
			b.WriteString("- " + part.text + "\n\n")
		case code:
			b.WriteString("```\n" + strings.Join(part.lines, "\n") + "\n```\n\n")
		case table:
			for _, e := range part.entries {
				b.WriteString(e.Term + "\n: " + e.Meaning + "\n\n")
			}
		}
	}
	b.WriteString("# SEE ALSO\n**ocifs(1)**\n")
	return b.String()
}
