package manual

import "strings"

// Page is the topic as the Markdown of a man page of that name. The generator of man
// pages knows more of Markdown than [Topic.Text], but its tables may be wider than a
// terminal. So a table becomes a list of definitions.
func (t Topic) Page(name string) string {
	var b strings.Builder
	b.WriteString("# NAME\n" + name + " - " + t.Summary + "\n\n# DESCRIPTION\n")
	for _, part := range blocks(t.body) {
		switch part.kind {
		case heading:
			b.WriteString(strings.Repeat("#", part.level-1) + " " + part.text + "\n\n")
		case paragraph:
			b.WriteString(part.text + "\n\n")
		case item:
			b.WriteString(part.marker + part.text + "\n\n")
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
