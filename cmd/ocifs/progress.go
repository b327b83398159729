package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sys/unix"
)

// progressEvery is how often it is told how far something is where no bar can show it.
const progressEvery = 10 * time.Second

// progress shows how many bytes are done: as a bar on a terminal, and elsewhere as a line
// now and then. It isn't safe for concurrent use.
type progress struct {
	w    io.Writer
	what string
	bars *mpb.Progress // nil: no terminal
	bar  *mpb.Bar      // nil until something is known
	told time.Time
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{w: w, what: what, told: time.Now()}
	if isTerminal(w) {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	}
	return p
}

// set tells how far it is.
func (p *progress) set(done, total int64) {
	switch {
	case p.bars == nil:
		if now := time.Now(); now.Sub(p.told) >= progressEvery {
			p.told = now
			fmt.Fprintf(p.w, "%s %s of %s\n", p.what, bytesText(done), bytesText(total))
		}
		return
	case p.bar == nil:
		p.bar = p.bars.New(total, mpb.BarStyle().Lbound("▕").Filler("█").Tip("█").Padding(" ").Rbound("▏"), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(p.what+" ")),
			mpb.AppendDecorators(decor.CountersKibiByte("% .1f of % .1f"), decor.Name(", "), decor.AverageETA(decor.ET_STYLE_GO), decor.Name(" left")))
	default:
		p.bar.SetTotal(total, false)
	}
	p.bar.SetCurrent(done)
}

// line prints a line to w, which is above the bar where both are on a terminal.
func (p *progress) line(w io.Writer, text string) {
	if p.bar != nil && isTerminal(w) {
		if _, err := p.bars.Write([]byte(text + "\n")); err == nil {
			return
		}
	}
	fmt.Fprintln(w, text)
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		p.bar.Abort(true)
	}
	if p.bars != nil {
		p.bars.Wait()
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}
