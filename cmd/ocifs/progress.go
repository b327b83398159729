package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/vbauerster/cupwriter"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// progressEvery is how often it is told how far something is where no bar can show it.
const progressEvery = 10 * time.Second

// progressMode is how progress is shown: --progress.
type progressMode string

const (
	autoProgress  progressMode = "auto"  // bars on a terminal that can show them, lines elsewhere
	plainProgress progressMode = "plain" // lines
	noProgress    progressMode = "none"
)

func (m *progressMode) Set(s string) error {
	switch v := progressMode(s); v {
	case autoProgress, plainProgress, noProgress:
		*m = v
		return nil
	}
	return errors.New("it is 'auto', 'plain' or 'none'")
}

func (*progressMode) Type() string     { return "MODE" }
func (m *progressMode) String() string { return string(*m) }

// progress shows how many bytes are done: as bars on a terminal, one for the whole and one for each part
// under way, and elsewhere as a line now and then. It isn't safe for concurrent use.
type progress struct {
	w    io.Writer
	what string
	mode progressMode
	bars *mpb.Progress       // nil: no terminal
	bar  *mpb.Bar            // of the whole; nil until something is known
	part map[string]*mpb.Bar // by name
	told time.Time           // when the last line was shown
}

// part is a part of a whole that is under way.
type part struct {
	name        string
	done, total int64 // in bytes; a total of -1 isn't known
}

func newProgress(w io.Writer, what string) *progress { return newProgressIn(autoProgress, w, what) }

func newProgressIn(mode progressMode, w io.Writer, what string) *progress {
	p := &progress{w: w, what: what, mode: mode, told: time.Now(), part: map[string]*mpb.Bar{}}
	if mode == autoProgress && styleOf(w).bars {
		p.bars = mpb.New(mpb.WithConsoleWriter(sizedConsole{cupwriter.New(w, false), w}), mpb.WithWidth(40))
	}
	return p
}

// sizedConsole is a terminal of mpb's whose size is known. A terminal in script(1), of a container or on a
// serial line may say that it has 0 rows and 0 columns, and mpb shows nothing on it (v8.16, seen 2026).
type sizedConsole struct {
	mpb.ConsoleWriter
	w io.Writer
}

// GetTermSize gives the columns and the rows.
func (c sizedConsole) GetTermSize() (width, height int, err error) {
	rows, columns := terminalSize(c.w)
	return columns, rows, nil
}

// set tells how far the whole is.
func (p *progress) set(done, total int64) { p.setParts(done, total, nil) }

// setParts tells how far the whole is, and each part of it that is under way.
func (p *progress) setParts(done, total int64, parts []part) {
	if p.bars == nil {
		if now := time.Now(); p.mode != noProgress && now.Sub(p.told) >= progressEvery {
			p.told = now
			fmt.Fprintf(p.w, "%s %s of %s\n", p.what, bytesText(done), bytesText(total))
		}
		return
	}
	if p.bar == nil {
		if total == 0 && len(parts) == 0 {
			return
		}
		p.bar = p.add(p.what, total)
	}
	p.bar.SetTotal(total, false)
	p.bar.SetCurrent(done)
	under := map[string]bool{}
	for _, x := range parts {
		under[x.name] = true
		if p.part[x.name] == nil {
			p.part[x.name] = p.add("  "+x.name, x.total)
		}
		p.part[x.name].SetTotal(max(x.total, x.done), false)
		p.part[x.name].SetCurrent(x.done)
	}
	for name, bar := range p.part {
		if !under[name] {
			bar.Abort(true)
			delete(p.part, name)
		}
	}
}

// add adds a bar. One whose total isn't known only counts. mpb would end a bar at the total that it
// begins with, and that grows: so it begins with none, and is ended by Abort.
func (p *progress) add(name string, total int64) *mpb.Bar {
	if total < 0 {
		return p.bars.New(0, mpb.NopStyle(), mpb.BarRemoveOnComplete(), mpb.PrependDecorators(decor.Name(name+" "), decor.CurrentKibiByte("% .1f")))
	}
	return p.bars.New(0, mpb.BarStyle().Lbound("▕").Filler("█").Tip("█").Padding(" ").Rbound("▏"), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f of % .1f"), decor.Name(", "), decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
}

// line prints a line to w, which is above the bars where both are on a terminal.
func (p *progress) line(w io.Writer, text string) {
	if p.bar != nil && isTerminal(w) {
		if _, err := p.bars.Write([]byte(text + "\n")); err == nil {
			return
		}
	}
	fmt.Fprintln(w, text)
}

// end takes the bars away.
func (p *progress) end() {
	for _, bar := range p.part {
		bar.Abort(true)
	}
	if p.bar != nil {
		p.bar.Abort(true)
	}
	if p.bars != nil {
		p.bars.Wait()
	}
}

// barText is a bar that stands still, of so many columns.
func barText(done, total int64, columns int) string {
	full := 0
	if total > 0 {
		full = int(float64(columns) * min(1, float64(done)/float64(total)))
	}
	return "▕" + strings.Repeat("█", full) + strings.Repeat(" ", columns-full) + "▏"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(descriptor)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
