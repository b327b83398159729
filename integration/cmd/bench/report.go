package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// report is all that a run says.
type report struct {
	Machine  []string
	Verdicts []verdict
	Rows     []measured
}

// measured is what one way of a row gave.
type measured struct {
	Row, What, Way, Figure, Spread string
	Seconds                        []float64
	Cost                           cost
	Peak                           int64  // of the daemon's memory, in bytes
	Failed                         string `json:",omitempty"`

	unit unit
}

// add takes in a row.
func (p *report) add(r *row) {
	p.Verdicts = append(p.Verdicts, r.verdicts()...)
	for _, w := range r.ways {
		m := measured{Row: r.name, What: r.what, Way: w.name, Seconds: w.took, Cost: w.cost, Peak: w.peak, unit: r.unit}
		if w.failed != nil {
			m.Failed = w.failed.Error()
		} else {
			m.Figure = r.unit.write(median(w.took))
			m.Spread = r.unit.write(slices.Max(w.took)) + " to " + r.unit.write(slices.Min(w.took))
			if r.unit == times {
				m.Spread = r.unit.write(slices.Min(w.took)) + " to " + r.unit.write(slices.Max(w.took))
			}
		}
		p.Rows = append(p.Rows, m)
	}
}

// tables are the goals, and what each program gave, with a line of names first.
func (p *report) tables() (goals, ways [][]string) {
	goals = [][]string{{"row", "ocifs", "against", "result", "spread", "goal", ""}}
	for _, v := range p.Verdicts {
		state := string(v.State)
		if v.Why != "" {
			state += ": " + v.Why
		}
		goals = append(goals, []string{v.Row, or(v.Ours), or(v.Against), or(v.Result), or(v.Spread), or(v.Goal), state})
	}
	ways = [][]string{{"row", "program", "median", "spread", "memory", "from registry", "to registry", "requests"}}
	for _, m := range p.Rows {
		line := []string{m.Row, m.Way, or(m.Figure), or(m.Spread), "-", "-", "-", "-"}
		if m.Peak > 0 {
			line[4] = mebibytes(m.Peak)
		}
		if len(m.Cost.Requests) > 0 {
			line[5], line[6], line[7] = megabytes(m.Cost.Served), megabytes(m.Cost.Taken), m.Cost.Requests.String()
		}
		if m.Failed != "" {
			line[7] = "failed: " + firstLine(m.Failed)
		}
		ways = append(ways, line)
	}
	return goals, ways
}

func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func megabytes(n int64) string { return fmt.Sprintf("%.3f MB", float64(n)/1e6) }

// write prints the tables, and writes all files to dir.
func (p *report) write(w io.Writer, dir string) error {
	goals, ways := p.tables()
	for _, line := range p.Machine {
		fmt.Fprintln(w, line)
	}
	for _, table := range [][][]string{goals, ways} {
		fmt.Fprintln(w)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, line := range table {
			fmt.Fprintln(t, strings.Join(line, "\t"))
		}
		t.Flush()
	}
	fmt.Fprintln(w)
	for _, line := range p.explained() {
		fmt.Fprintln(w, line)
	}
	raw, err := json.MarshalIndent(p, "", "  ")
	return errors.Join(err,
		os.MkdirAll(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "bench.json"), append(raw, '\n'), 0o644),
		os.WriteFile(filepath.Join(dir, "bench.txt"), []byte(p.samples()), 0o644),
		os.WriteFile(filepath.Join(dir, "bench.md"), []byte(p.markdown(goals, ways)), 0o644),
		p.draw(dir))
}

// explained says what each row is.
func (p *report) explained() (lines []string) {
	for _, m := range p.Rows {
		line := m.Row + ": " + m.What
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

func (p *report) markdown(tables ...[][]string) string {
	var b strings.Builder
	b.WriteString("# ocifs measured\n\n")
	for _, line := range p.Machine {
		b.WriteString("- " + line + "\n")
	}
	b.WriteString("\n![speeds beside those of the others, and budgets](bench.svg)\n")
	for _, table := range tables {
		b.WriteString("\n")
		for i, line := range table {
			for _, cell := range line {
				b.WriteString("| " + strings.ReplaceAll(cell, "|", `\|`) + " ") // names have the shell's pipes
			}
			b.WriteString("|\n")
			if i == 0 {
				b.WriteString(strings.Repeat("|---", len(line)) + "|\n")
			}
		}
	}
	b.WriteString("\n")
	for _, line := range p.explained() {
		b.WriteString("- " + line + "\n")
	}
	return b.String()
}
