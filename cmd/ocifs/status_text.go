package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/ocifs/ocifs/fs/upload"
)

// style says how text is shown.
type style struct {
	bars   bool // transfers have bars
	colour bool
}

// styleOf gives the style of text on w: bars on a terminal, unless it is a dumb one, and colours there
// unless $NO_COLOR isn't empty (no-color.org).
func styleOf(w io.Writer) style {
	l := style{bars: isTerminal(w) && os.Getenv("TERM") != "dumb"}
	l.colour = l.bars && os.Getenv("NO_COLOR") == ""
	return l
}

// Colours, as ECMA-48 numbers them (SGR).
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// in colours text.
func (l style) in(colour, text string) string {
	if !l.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// lines tells of a mount.
func (m mountState) lines(l style) []string {
	if !m.Alive {
		lines := []string{l.in(bold, printable(m.Mountpoint)) + ": " + l.in(red, printable(m.why()))}
		if hint := m.Errors[0].Hint; hint != "" {
			lines = append(lines, "  "+l.in(dim, printable(hint)))
		}
		return lines
	}
	source := m.Source
	if source == "" || source == "ocifs" {
		source = "every registry"
	}
	lines := []string{fmt.Sprintf("%s: %s, %s, cache %s of %s", l.in(bold, printable(m.Mountpoint)), l.in(green, "alive"), printable(source), bytesText(m.Cache.Used), bytesText(m.Cache.Limit))}
	for _, t := range m.Transfers {
		lines = append(lines, t.line(l))
	}
	for _, r := range m.Uploads {
		lines = append(lines, pushLine(r, l))
	}
	for _, f := range m.Errors {
		lines = append(lines, fmt.Sprintf("  %s %s %s %s: %s", l.in(dim, clock(f.Time)), l.in(red, f.Errno), f.Op, printable(f.Path), printable(f.Cause)))
		if f.Hint != "" {
			lines = append(lines, "    "+l.in(dim, printable(f.Hint)))
		}
	}
	return lines
}

// line tells of a transfer.
func (t transferState) line(l style) string {
	how := fmt.Sprintf("%s of %s", bytesText(t.Done), bytesText(t.Total))
	if t.Total < 0 {
		how = bytesText(t.Done)
	}
	bar := ""
	if l.bars {
		bar = barText(t.Done, t.Total, 24) + " "
	}
	what := shortDigest(t.Digest)
	if t.Digest == "" {
		what = "a blob that is being written"
	}
	return fmt.Sprintf("  %-9s %s %s%s", t.Kind, what, bar, how)
}

// pushLine tells of a push that isn't done.
func pushLine(r upload.Record, l style) string {
	colour := yellow
	if r.State == upload.Failed || r.State == upload.Left {
		colour = red
	}
	line := fmt.Sprintf("  %s %s %s", l.in(colour, "push "+r.State), printable(r.Repository), printable(r.Target))
	if r.Error != "" {
		line += ": " + printable(r.Error)
	}
	return line + " " + l.in(dim, "("+clock(r.Time)+")")
}

// printable is a text that others chose, such as a path or what a registry said, for a terminal: what
// isn't printed stands there as Go writes it. A terminal obeys escape sequences, and a line break would
// look like a line of ocifs.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
	}
	return b.String()
}

// clock is a time of today, or a day, of this machine.
func clock(t time.Time) string {
	t = t.Local()
	if time.Since(t) < 24*time.Hour {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateOnly)
}

// shortDigest is as much of a digest as people compare.
func shortDigest(d string) string {
	algorithm, hex, ok := strings.Cut(d, ":")
	if !ok {
		return d
	}
	return algorithm + ":" + hex[:min(12, len(hex))]
}

// screen is where lines are shown: in place of those before on a terminal, and after them elsewhere.
type screen struct {
	w     io.Writer
	style style
	rows  int // of the terminal that the last lines took
}

func newScreen(w io.Writer) *screen { return &screen{w: w, style: styleOf(w)} }

// append shows lines after those that are there.
func (s *screen) append(lines []string) error {
	_, err := io.WriteString(s.w, strings.Join(lines, "\n")+"\n")
	return err
}

// replace shows lines in place of the last ones. Elsewhere than on a terminal they have a time before
// them.
func (s *screen) replace(now time.Time, lines []string) error {
	if !s.style.bars {
		return s.append(append([]string{now.UTC().Format(time.RFC3339)}, lines...))
	}
	rows, columns := terminalSize(s.w)
	if more := len(lines) - (rows - 1); more > 0 {
		lines = append(lines[:rows-2:rows-2], fmt.Sprintf("… and %s", plural(more+1, "line", "lines")))
	}
	for k, line := range lines {
		lines[k] = cutText(line, columns)
	}
	up := ""
	if s.rows > 0 {
		up = fmt.Sprintf("\x1b[%dA", s.rows) // CUU of ECMA-48
	}
	s.rows = len(lines)
	_, err := io.WriteString(s.w, up+"\r\x1b[J"+strings.Join(lines, "\n")+"\n") // ED: all behind the cursor
	return err
}

// terminalSize gives the rows and the columns of a terminal: 24 and 80 if it doesn't know them.
func terminalSize(w io.Writer) (rows, columns int) {
	f, ok := w.(descriptor)
	if !ok {
		return 24, 80
	}
	s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || s.Row < 4 || s.Col < 20 {
		return 24, 80
	}
	return int(s.Row), int(s.Col)
}

// cutText cuts a line to so many columns. Colours take none.
func cutText(line string, columns int) string {
	var b strings.Builder
	taken, coded := 0, false
	for k := 0; k < len(line); {
		if line[k] == '\x1b' {
			end := strings.IndexByte(line[k:], 'm')
			if end < 0 {
				break
			}
			b.WriteString(line[k : k+end+1])
			coded = true
			k += end + 1
			continue
		}
		r, n := utf8.DecodeRuneInString(line[k:])
		if taken == columns-1 && k+n < len(line) {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
		taken++
		k += n
	}
	if coded {
		b.WriteString("\x1b[0m")
	}
	return b.String()
}
