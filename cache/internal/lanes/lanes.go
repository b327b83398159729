// Package lanes hashes several blobs with SHA-256 at once, on processors where that is faster than
// one after the other.
//
// # Why
//
// SHA-256 is a chain: each block of 64 bytes needs the state that the block before it gave. A
// processor with instructions for SHA-256 takes 1.8 GB/s of one blob. One without takes 0.25 GB/s, and
// then the hash is most of what the download of an image costs. But the layers of an image don't need
// each other. A register of 512 bits holds one word of the state for 16 blobs (a lane each), and one
// instruction does a step for all of them. 16 lanes take 1.5 GB/s together on such a processor, and 8
// lanes in registers of 256 bits 1.2 GB/s.
//
// # How
//
// A Write of some length waits for its turn. Those who wait for a turn at the same moment have it
// together, in lanes. While they do, the next ones gather. Nobody waits for a time: if few blobs come,
// each is hashed alone.
//
// Goroutines that hash what a file has gather well. Those that hash what a connection brings don't: the
// runtime looks for bytes on connections when no goroutine can run, and one that hashes can. So each
// of them goes on alone until its connection is empty.
//
// Between two writes the state of a blob is in the standard library's hash. A turn of lanes takes the
// state out of it and puts it back, as encoding.BinaryMarshaler allows.
//
// # Where
//
// On amd64 with AVX-512 and without the instructions for SHA-256. Everywhere else New gives the standard
// library's hash. So it does if the first use doesn't give what the standard library gives, and in FIPS
// 140-3 mode, whose users want the module that was validated.
package lanes

import (
	"bytes"
	"crypto/fips140"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"runtime"
	"sync"
)

const (
	// width is how many blobs are hashed at once at most.
	width = 16
	// least is how many blobs are hashed at once at least. Half of the lanes take as long as two blobs
	// one after the other.
	least = 3
	// minWrite is the length of a write, in bytes, from which on it waits for a turn.
	minWrite = 16 << 10
	// maxWrite is how many bytes of a write are hashed in one turn. That takes 3 ms at most, in which
	// the runtime can't preempt the goroutine.
	maxWrite = 256 << 10
)

// New gives a SHA-256 hash. Other goroutines may write to other hashes meanwhile, and a Write waits some
// milliseconds at most for those that it shares a turn with.
func New() hash.Hash {
	if !Usable() {
		return sha256.New()
	}
	return &laneHash{Hash: sha256.New(), turns: &all}
}

// Usable says whether lanes are faster here, and right.
var Usable = sync.OnceValue(func() bool { return capable() && !hasSHA() && !fips140.Enabled() && right() })

// right compares the lanes with the standard library.
func right() bool {
	b := make([]byte, 3*sha256.BlockSize+width)
	for i := range b {
		b[i] = byte(i * i)
	}
	var ws []*write
	for i := range width {
		ws = append(ws, &write{h: sha256.New(), p: b[i:][:3*sha256.BlockSize]})
	}
	// eight goes on from where sixteen ended.
	if !together(ws) || !together(ws[:width/2]) || !together(ws[width/2:]) {
		return false
	}
	for _, w := range ws {
		h := sha256.New()
		h.Write(w.p)
		h.Write(w.p)
		if !bytes.Equal(h.Sum(nil), w.h.Sum(nil)) {
			return false
		}
	}
	return true
}

// laneHash is a SHA-256 hash whose long writes go through lanes.
type laneHash struct {
	hash.Hash // the standard library's
	turns     *turns
	at        int // the bytes after the last whole block
}

func (h *laneHash) Reset() {
	h.Hash.Reset()
	h.at = 0
}

func (h *laneHash) Write(p []byte) (int, error) {
	n := len(p)
	if h.at > 0 { // lanes take whole blocks
		p = h.alone(p, min(len(p), sha256.BlockSize-h.at))
	}
	for len(p) >= minWrite {
		n := min(len(p), maxWrite) / sha256.BlockSize * sha256.BlockSize
		p = p[h.turns.hash(h.Hash, p[:n]):]
	}
	h.alone(p, len(p))
	return n, nil
}

// alone hashes the first n bytes without a turn, and gives the others.
func (h *laneHash) alone(p []byte, n int) []byte {
	h.Hash.Write(p[:n])
	h.at = (h.at + n) % sha256.BlockSize
	return p[n:]
}

// all are the turns of the process: its blobs share the processors.
var all turns

// turns are the turns at hashing. The zero value is ready.
type turns struct {
	mu       sync.Mutex // guards the fields below; a leaf
	waiting  []*write
	alone    int // turns of one write each that are under way
	together int // turns of lanes that are under way
}

// write is whole blocks that wait for a turn.
type write struct {
	h    hash.Hash
	p    []byte
	turn chan []*write // gets the writes of a turn that the receiver runs; empty: another one ran it
}

// hash adds the first bytes of p to h, and gives how many. p is whole blocks. So is what was hashed.
func (t *turns) hash(h hash.Hash, p []byte) int {
	w := &write{h, p, make(chan []*write, 1)}
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	runtime.Gosched() // others that can run come to wait too, before this one holds the processor
	t.mu.Lock()
	t.give()
	t.mu.Unlock()
	if turn := <-w.turn; len(turn) > 0 {
		t.run(turn)
	}
	return len(w.p)
}

// give gives turns to those who wait, as many as there may be at once. mu is held.
func (t *turns) give() {
	processors := runtime.GOMAXPROCS(0)
	for {
		n := min(len(t.waiting), width)
		switch {
		case n >= least && t.together < processors:
			t.together++
		case n > 0 && t.together == 0 && t.alone < processors:
			n = 1
			t.alone++
		default:
			return
		}
		turn := t.waiting[:n:n]
		t.waiting = t.waiting[n:]
		turn[0].turn <- turn
	}
}

// run has a turn, the first write of which is the caller's, and tells the others.
func (t *turns) run(turn []*write) {
	count := &t.together
	if len(turn) == 1 {
		count = &t.alone
	}
	if len(turn) == 1 || !together(turn) {
		for _, w := range turn {
			w.h.Write(w.p)
		}
	}
	t.mu.Lock()
	*count--
	t.give()
	t.mu.Unlock()
	for _, w := range turn[1:] {
		w.turn <- nil
	}
}

// states are the states of all lanes, word by word.
type states [8][width]uint32

// The bytes of a state as the standard library gives it: a name, the words, the bytes after the last
// whole block, and the length.
const (
	stateWords  = len("sha\x03")
	stateRest   = stateWords + sha256.Size
	stateLength = stateRest + sha256.BlockSize
	stateSize   = stateLength + 8
)

// together hashes writes, width of them at most, each up to the end of the shortest one. It cuts
// them to what was hashed. If the processor can't, or the states aren't such as it knows, it does nothing
// and gives false.
func together(ws []*write) bool {
	if !capable() {
		return false
	}
	var (
		s        states
		messages [width]*byte
		saved    [width][]byte
	)
	n := len(ws[0].p)
	for i, w := range ws {
		m, ok := w.h.(encoding.BinaryMarshaler)
		if !ok {
			return false
		}
		b, err := m.MarshalBinary()
		if err != nil || len(b) != stateSize {
			return false
		}
		for word := range s {
			s[word][i] = binary.BigEndian.Uint32(b[stateWords+4*word:])
		}
		saved[i], messages[i] = b, &w.p[0]
		n = min(n, len(w.p))
	}
	for i := len(ws); i < width; i++ { // which nobody looks at
		messages[i] = messages[0]
	}
	if len(ws) <= width/2 {
		eight(&s, &messages, n/sha256.BlockSize)
	} else {
		sixteen(&s, &messages, n/sha256.BlockSize)
	}
	for i, w := range ws {
		b := saved[i]
		for word := range s {
			binary.BigEndian.PutUint32(b[stateWords+4*word:], s[word][i])
		}
		binary.BigEndian.PutUint64(b[stateLength:], binary.BigEndian.Uint64(b[stateLength:])+uint64(n))
		if err := w.h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b); err != nil {
			panic(err) // it has just given these bytes, with other words
		}
		w.p = w.p[:n]
	}
	return true
}
