package manual

import (
	"regexp"
	"strings"
)

// kind is what a block of a text is.
type kind int

const (
	heading kind = iota
	paragraph
	item  // of a list
	code  // between fences
	table // all rows
)

// block is a part of a text between empty lines.
type block struct {
	kind    kind
	level   int      // of a heading: 2 or 3
	text    string   // of a heading, a paragraph, an item: on one line
	marker  string   // of an item: "- ", or its number ("1. ")
	lines   []string // of code
	entries []Entry  // of a table
}

// blocks takes a text apart.
func blocks(text string) []block {
	var all []block
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.TrimSpace(line) == "":
		case strings.HasPrefix(line, "#"):
			title := strings.TrimLeft(line, "#")
			all = append(all, block{kind: heading, level: len(line) - len(title), text: strings.TrimSpace(title)})
		case strings.HasPrefix(line, "```"):
			b := block{kind: code}
			for i++; i < len(lines) && lines[i] != "```"; i++ {
				b.lines = append(b.lines, lines[i])
			}
			all = append(all, b)
		case strings.HasPrefix(line, "|"):
			b := block{kind: table}
			for i += 2; i < len(lines) && strings.HasPrefix(lines[i], "|"); i++ {
				b.entries = append(b.entries, row(lines[i]))
			}
			i--
			all = append(all, b)
		default:
			b := block{kind: paragraph, text: line}
			if marker := itemMark.FindString(line); marker != "" {
				b = block{kind: item, text: line[len(marker):], marker: marker}
			}
			for i++; i < len(lines) && goesOn(lines[i]); i++ {
				b.text += " " + strings.TrimSpace(lines[i])
			}
			i--
			all = append(all, b)
		}
	}
	return all
}

// itemMark begins an item of a list.
var itemMark = regexp.MustCompile(`^(- |\d\. )`)

// otherBlock begins a block that is no paragraph.
var otherBlock = regexp.MustCompile("^(#|```|\\||- |\\d\\. )")

// goesOn is true if a line belongs to the paragraph or item before it.
func goesOn(line string) bool {
	return strings.TrimSpace(line) != "" && !otherBlock.MatchString(line)
}

// separator is a "|" between cells, which no backslash precedes.
var separator = regexp.MustCompile(`(^|[^\\])\|`)

// row reads "| term | meaning |".
func row(line string) Entry {
	line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "|"), "|")
	term, meaning := line, ""
	if at := separator.FindStringIndex(line); at != nil {
		term, meaning = line[:at[1]-1], line[at[1]:]
	}
	cell := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, `\|`, "|")) }
	return Entry{Term: cell(term), Meaning: cell(meaning)}
}
