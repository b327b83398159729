package manual

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var generated = map[string][]Entry{"settings": {{"`--tag-ttl TIME`", "how long a tag is believed"}}}

// Every text is in the order, and its first line is what 'ocifs help' shows of it.
func TestEveryTextIsATopic(t *testing.T) {
	t.Parallel()
	texts, err := filepath.Glob("*.md")
	if err != nil || len(texts) < 8 {
		t.Fatalf("%d texts: %v", len(texts), err)
	}
	for _, file := range texts {
		name := strings.TrimSuffix(file, ".md")
		if !slices.Contains(order, name) {
			t.Errorf("%s is in no order", file)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if _, summary, ok := strings.Cut(first, "# "+name+": "); !ok || summary == "" || utf8.RuneCountInString(first) > 78 {
			t.Errorf("%s begins with %q", file, first)
		}
	}
}

// A line of a topic fits a terminal of 80 columns. Code doesn't wrap, and may be longer.
func TestATopicFitsATerminal(t *testing.T) {
	t.Parallel()
	for _, topic := range Topics(generated) {
		long := map[string]bool{}
		for _, b := range blocks(topic.body) {
			for _, l := range b.lines {
				long[l] = true
			}
		}
		for line := range strings.Lines(topic.Text(false)) {
			line = strings.TrimSuffix(line, "\n")
			if utf8.RuneCountInString(line) > columns && !long[strings.TrimSpace(line)] && !long[strings.TrimPrefix(line, "    ")] {
				t.Errorf("%s: %q has %d columns", topic.Name, line, utf8.RuneCountInString(line))
			}
			if strings.ContainsAny(line, "\x00\x1b") || strings.Contains(line, "**") && !strings.Contains(line, "**/") || strings.Contains(line, "<!--") {
				t.Errorf("%s: marks are left: %q", topic.Name, line)
			}
		}
	}
}

// The blocks of a text are told apart, and rendered each in its way.
func TestATextIsRendered(t *testing.T) {
	t.Parallel()
	topic := Topic{Name: "x", Summary: "an example", body: strings.Join([]string{
		"A *first* paragraph with `code` that goes", "on.", "", "## A heading", "", "- one", "  goes on", "- two", "", "1. first", "2. second", "",
		"```console", "$ echo '*a*  **b**'", "```", "",
		"| term | meaning |", "|---|---|", "| `a\\|b` | one of two |", "| a term that is longer than most | **stands** alone |",
	}, "\n")}
	want := `ocifs x: an example

  A first paragraph with code that goes on.

A heading

  - one goes on
  - two
  1. first
  2. second

    $ echo '*a*  **b**'

  a|b  one of two
  a term that is longer than most
       stands alone
`
	if got := topic.Text(false); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	bold := topic.Text(true)
	for _, s := range []string{"\x1b[1mcode\x1b[0m", "\x1b[1mA heading\x1b[0m", "\x1b[1ma|b\x1b[0m  one", "\x1b[1mstands\x1b[0m alone"} {
		if !strings.Contains(bold, s) {
			t.Errorf("%q isn't in %q", s, bold)
		}
	}
	if plain(bold) != want {
		t.Errorf("bold changes more than the look: %q", plain(bold))
	}
}

// A generated table stands where the text has its name.
func TestAGeneratedTableIsInItsPlace(t *testing.T) {
	t.Parallel()
	for _, topic := range Topics(generated) {
		if topic.Name == "settings" && !strings.Contains(topic.Text(false), "--tag-ttl TIME  how long a tag is believed") {
			t.Error(topic.Text(false))
		}
	}
}
