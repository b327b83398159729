package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	pictureWidth = 11.5 * vg.Inch
	lineHeight   = 0.26 * vg.Inch
	panelHeight  = 1.1 * vg.Inch // of what isn't lines: title, axis
	labelWidth   = 4.5 * vg.Inch // of what stands left of the bars
	headHeight   = 0.2 * vg.Inch // of a line about the machine
)

// sans is a font that gonum brings along, so that pictures are the same everywhere.
const sans = "Sans"

var (
	metColor   = color.RGBA{0x3a, 0x86, 0x5a, 0xff}
	shortColor = color.RGBA{0xd0, 0x7a, 0x2b, 0xff}
)

// draw writes the verdicts as bench.png and bench.svg: bars of speeds beside those of
// the others, and of budgets, with the goals as marks and spreads as whiskers.
func (p *report) draw(dir string) error {
	var speeds, budgets []verdict
	for _, v := range p.Verdicts {
		switch {
		case v.State == unmeasured:
		case v.Budget:
			budgets = append(budgets, v)
		default:
			speeds = append(speeds, v)
		}
	}
	var panels []panel
	if len(speeds) > 0 {
		panels = append(panels, panel{"Speed, as a multiple of the fastest other's (right is faster)", speeds, true})
	}
	if len(budgets) > 0 {
		panels = append(panels, panel{"What is used, as a multiple of what may be (left is less)", budgets, false})
	}
	if len(panels) == 0 {
		return nil // nothing was measured: there is no picture of nothing
	}
	head := append(slices.Clone(p.Machine), legend)
	height := headHeight * vg.Length(len(head)+1)
	for _, n := range panels {
		height += n.height()
	}
	png, svg := vgimg.NewWith(vgimg.UseWH(pictureWidth, height), vgimg.UseDPI(150)), vgsvg.New(pictureWidth, height)
	return errors.Join(
		drawTo(draw.New(png), head, panels), save(filepath.Join(dir, "bench.png"), vgimg.PngCanvas{Canvas: png}),
		drawTo(draw.New(svg), head, panels), save(filepath.Join(dir, "bench.svg"), svg))
}

func save(path string, c vg.CanvasWriterTo) error {
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return fmt.Errorf("drawing %s: %w", path, err)
	}
	// Of an SVG, who looks at it has the fonts, and perhaps not this one.
	raw := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(path, raw, 0o644)
}

// legend explains the bars.
const legend = "green: the goal is met; orange: it isn't; red mark: the goal; whiskers: single rounds, against the same round of the other; what couldn't be measured is left out"

func drawTo(c draw.Canvas, head []string, panels []panel) error {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	top := c.Max.Y
	for _, line := range head {
		top -= headHeight
		c.FillText(style(8.5, draw.XLeft, color.Gray{0x50}), vg.Point{X: c.Min.X + 0.15*vg.Inch, Y: top + headHeight/3}, line)
	}
	top -= headHeight / 2
	for _, n := range panels {
		part := c
		part.Max.Y, part.Min.Y = top, top-n.height()
		top = part.Min.Y
		if err := n.draw(part); err != nil {
			return err
		}
	}
	return nil
}

// panel is one group of bars.
type panel struct {
	title string
	lines []verdict
	log   bool // of a ratio: as much faster is as long as as much slower
}

func (n panel) height() vg.Length { return panelHeight + lineHeight*vg.Length(len(n.lines)) }

func (n panel) draw(c draw.Canvas) error {
	p := plot.New()
	p.Title.Text, p.Title.TextStyle.Font.Size = n.title, 10
	p.Title.TextStyle.Font.Variant, p.Title.Padding = sans, 0.06*vg.Inch
	p.HideY()
	p.X.Tick.Label.Font.Variant, p.X.Tick.Label.Font.Size = sans, 8
	p.Y.Min, p.Y.Max = -0.6, float64(len(n.lines))-0.4
	p.X.Min, p.X.Max = n.bounds()
	if n.log {
		p.X.Scale = plot.LogScale{}
	}
	p.X.Tick.Marker = plot.TickerFunc(n.ticks)
	p.Add(bars{n})
	left := c
	c.Min.X += labelWidth
	c.Max.X -= 0.15 * vg.Inch
	c.Min.Y += 0.15 * vg.Inch
	p.Draw(c)
	// The names stand left of the plot, at the height of their bars.
	data := p.DataCanvas(c)
	_, y := p.Transforms(&data)
	for i, v := range n.lines {
		at := y(n.at(i))
		name := v.Row + ": " + v.Ours
		if v.Against != "" {
			name += ", " + v.Against
		}
		left.FillText(style(8, draw.XRight, color.Black), vg.Point{X: c.Min.X - 0.05*vg.Inch, Y: at}, name)
	}
	return nil
}

// at is where line i is, the first one at the top.
func (n panel) at(i int) float64 { return float64(len(n.lines) - 1 - i) }

// bounds are wide enough for every bar, whisker and mark, and for what is written
// beside them.
func (n panel) bounds() (least, most float64) {
	least, most = 1, 1
	for _, v := range n.lines {
		least, most = min(least, v.Least, v.Value, v.Mark), max(most, v.Most, v.Value, v.Mark)
	}
	if n.log {
		return max(least, 0.01) / 1.3, most * math.Pow(most/max(least, 0.01), 0.35)
	}
	return min(least, 0), min(most, budgetMost) * 1.3
}

// budgetMost is where a bar of a budget ends that is longer: its figure stands beside it.
const budgetMost = 4

func (n panel) ticks(least, most float64) (ticks []plot.Tick) {
	values := []float64{0, 1, 2, 3, 4, 5}
	if n.log {
		values = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100}
	}
	for _, x := range values {
		if x >= least && x <= most {
			ticks = append(ticks, plot.Tick{Value: x, Label: fmt.Sprintf("%g", x)})
		}
	}
	return ticks
}

// bars draws the lines of a panel.
type bars struct{ panel }

func (b bars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	in := func(value float64) vg.Length { return x(min(max(value, p.X.Min), p.X.Max)) }
	zero := 0.0
	if b.log {
		zero = 1
	}
	c.StrokeLine2(draw.LineStyle{Color: color.Gray{0x80}, Width: 0.8}, in(zero), c.Min.Y, in(zero), c.Max.Y)
	for i, v := range b.lines {
		middle, fill := y(b.at(i)), metColor
		if v.State == short {
			fill = shortColor
		}
		end := v.Value
		if v.Budget {
			end = min(end, budgetMost)
		}
		c.FillPolygon(fill, rectangle(in(zero), in(end), middle, lineHeight*0.3))
		if end != v.Value { // it goes on: the bar is cut through
			for _, gap := range []vg.Length{0.1 * vg.Inch, 0.16 * vg.Inch} {
				c.StrokeLine2(draw.LineStyle{Color: color.White, Width: 2}, in(end)-gap-2, middle-lineHeight*0.3, in(end)-gap+2, middle+lineHeight*0.3)
			}
		}
		beside := max(in(zero), in(end), in(v.Mark))
		if v.Least != v.Most && (!v.Budget || v.Most <= budgetMost) {
			c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: 0.9}, in(v.Least), middle, in(v.Most), middle)
			for _, tip := range []float64{v.Least, v.Most} {
				c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: 0.9}, in(tip), middle-lineHeight*0.12, in(tip), middle+lineHeight*0.12)
			}
			beside = max(beside, in(v.Most))
		}
		c.StrokeLine2(draw.LineStyle{Color: color.RGBA{0xb0, 0, 0x20, 0xff}, Width: 2}, in(v.Mark), middle-lineHeight*0.42, in(v.Mark), middle+lineHeight*0.42)
		c.FillText(style(8, draw.XLeft, color.Black), vg.Point{X: beside + 0.06*vg.Inch, Y: middle}, v.Result+" ("+v.Goal+")")
	}
}

func rectangle(from, to, middle, half vg.Length) []vg.Point {
	return []vg.Point{{X: from, Y: middle - half}, {X: to, Y: middle - half}, {X: to, Y: middle + half}, {X: from, Y: middle + half}}
}

func style(size vg.Length, align text.XAlignment, c color.Color) draw.TextStyle {
	f := font.From(plot.DefaultFont, size)
	f.Variant = sans
	return draw.TextStyle{
		Color: c, Font: f, Handler: plot.DefaultTextHandler,
		XAlign: align, YAlign: draw.YCenter,
	}
}
