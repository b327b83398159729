package manual

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

const (
	// columns is the width of a terminal on which nothing wraps.
	columns = 80
	// indent stands before everything but headings, as in man pages.
	indent = 2
	// termWidth is the most that the terms of a table take of a line. A longer term has a
	// line to itself.
	termWidth = 22
)

// Text renders the topic for a terminal of 80 columns. Code alone may be wider. With bold,
// headings, code and what is strong stand out by the terminal's escape sequences.
func (t Topic) Text(bold bool) string {
	p := printer{bold: bold}
	p.line(0, p.strong("ocifs "+t.Name+": "+t.Summary))
	for i, b := range blocks(t.body) {
		p.block(b, i)
	}
	return p.out.String()
}

// printer collects the rendered lines.
type printer struct {
	out  strings.Builder
	bold bool
	last kind // of the block before
}

func (p *printer) line(in int, s string) {
	if s != "" {
		p.out.WriteString(strings.Repeat(" ", in))
	}
	p.out.WriteString(s + "\n")
}

func (p *printer) strong(s string) string {
	if !p.bold || s == "" {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

func (p *printer) block(b block, i int) {
	// The items of a list stand together.
	if b.kind != item || p.last != item || i == 0 {
		p.line(0, "")
	}
	p.last = b.kind
	switch b.kind {
	case heading:
		p.line((b.level-2)*indent, p.strong(unmarked(b.text)))
	case paragraph:
		p.wrapped(b.text, indent, "")
	case item:
		p.wrapped(b.text, indent+len(b.marker), b.marker)
	case code:
		for _, l := range b.lines {
			p.line(indent+2, l)
		}
	case table:
		p.table(b.entries)
	}
}

// table prints each term, and beside it what it means.
func (p *printer) table(entries []Entry) {
	width := 0
	for _, e := range entries {
		if n := utf8.RuneCountInString(unmarked(e.Term)); n <= termWidth {
			width = max(width, n)
		}
	}
	for _, e := range entries {
		term := unmarked(e.Term)
		lead := p.strong(term) + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(term))) + "  "
		if utf8.RuneCountInString(term) > termWidth {
			p.wrapped(e.Term, indent, "")
			lead = strings.Repeat(" ", width+2)
		}
		p.wrapped(e.Meaning, indent+width+2, lead)
	}
}

// wrapped prints a text in lines that begin at column in, the first one with lead before
// it, which takes the last columns of the indentation.
func (p *printer) wrapped(text string, in int, lead string) {
	first := strings.Repeat(" ", in)
	if lead != "" {
		first = strings.Repeat(" ", max(0, in-utf8.RuneCountInString(plain(lead)))) + lead
	}
	line, width := first, in
	for i, word := range words(text) {
		n := utf8.RuneCountInString(unmarked(word))
		if i > 0 && width+1+n > columns {
			p.line(0, p.marked(line))
			line, width = strings.Repeat(" ", in)+word, in+n
			continue
		}
		if i > 0 {
			line, width = line+" ", width+1
		}
		line, width = line+word, width+n
	}
	p.line(0, strings.TrimRight(p.marked(line), " "))
}

// Marks within a line. A mark begins where no letter precedes it, so that a * or a _ in a
// name is none.
var (
	codeMark     = regexp.MustCompile("`([^`]+)`")
	strongMark   = regexp.MustCompile(`\*\*([^*]+)\*\*`)
	emphasisMark = regexp.MustCompile(`(^|[\s(])\*([^*\s][^*]*)\*`)
	escape       = regexp.MustCompile("\x1b\\[[01]m")
)

// words splits a text where it may be wrapped. Code isn't broken unless it is longer than
// half a line.
func words(text string) []string {
	const space = "\x00"
	text = codeMark.ReplaceAllStringFunc(text, func(s string) string {
		if len(s) > columns/2 {
			// Each word is marked by itself, as it may come to stand on a line of its own.
			return strings.ReplaceAll(s, " ", "` `")
		}
		return strings.ReplaceAll(s, " ", space)
	})
	text = strongMark.ReplaceAllStringFunc(text, func(s string) string { return strings.ReplaceAll(s, " ", "** **") })
	text = emphasisMark.ReplaceAllStringFunc(text, func(s string) string { return strings.ReplaceAll(s, " ", space) })
	all := strings.Fields(text)
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], space, " ")
	}
	return all
}

// marked turns marks into what a terminal shows.
func (p *printer) marked(s string) string { return replaceMarks(s, p.strong) }

// unmarked leaves marks out.
func unmarked(s string) string { return replaceMarks(s, func(s string) string { return s }) }

// replaceMarks gives what is marked as code or as strong to strong. What is code has no
// further marks in it.
func replaceMarks(s string, strong func(string) string) string {
	var b strings.Builder
	for {
		at := codeMark.FindStringSubmatchIndex(s)
		before := s
		if at != nil {
			before = s[:at[0]]
		}
		before = strongMark.ReplaceAllStringFunc(before, func(m string) string { return strong(m[2 : len(m)-2]) })
		b.WriteString(emphasisMark.ReplaceAllString(before, "$1$2"))
		if at == nil {
			return b.String()
		}
		b.WriteString(strong(s[at[2]:at[3]]))
		s = s[at[1]:]
	}
}

// plain leaves escape sequences out.
func plain(s string) string { return escape.ReplaceAllString(s, "") }
