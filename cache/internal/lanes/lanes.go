// Package lanes hashes several blobs with SHA-256 at once, on processors where that is faster than
// one after the other.
//
// # Why
//
// SHA-256 is a chain: each block of 64 bytes needs the state that the block before it gave. A
// processor with instructions for SHA-256 takes 1.8 GB/s of one blob. One without takes 0.2 GB/s, and
// then the hash is most of what the download of an image costs. But the layers of an image don't need
// each other. A register of 256 bits holds one word of the state for eight blobs (a lane each), and one
// instruction does a step for all of them. Eight lanes take 1.1 GB/s together on such a processor.
// Registers of 512 bits, for 16 lanes, take no more in the same time.
//
// # How
//
// A Write of at least minWrite bytes waits for a turn. The writes that wait at the same moment share
// one turn, a lane each. Meanwhile the next ones gather. Nobody waits for a time: if few blobs come,
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
// library's hash. New gives it also if the first use finds that the lanes are wrong (right), in FIPS
// 140-3 mode and in a build with GOEXPERIMENT=boringcrypto: their users want the module that was
// validated.
package lanes

import (
	"bytes"
	"crypto/fips140"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"hash"
	"runtime"
	"slices"
	"sync"
)

const (
	// width is the number of lanes.
	width = 8
	// least is the fewest writes that share a turn. A turn takes as long as two blobs one after the
	// other, however many share it.
	least = 3
	// minWrite is the length of a write, in bytes, from which on it waits for a turn.
	minWrite = 16 << 10
	// maxWrite is how many bytes of a write are hashed in one turn. Eight of these take 2 ms on a
	// processor of 2 GHz.
	maxWrite = 256 << 10
	// pieceLen is how many bytes of each lane are hashed before the runtime may preempt the goroutine.
	// Garbage collection waits for that.
	pieceLen = 32 << 10
)

// New gives a SHA-256 hash. Other goroutines may write to other hashes meanwhile. A Write waits for the
// turns that others have.
func New() hash.Hash {
	if !Usable() {
		return sha256.New()
	}
	return newHash(&all)
}

// Usable says whether lanes are faster here, and right.
var Usable = sync.OnceValue(func() bool { return capable() && !hasSHA() && !fips140.Enabled() && right() })

// Gather says whether n blobs, each of which a goroutine hashes, share turns. Fewer are hashed alone,
// each on a processor.
func Gather(n int) bool { return Usable() && n >= runtime.GOMAXPROCS(0)+least }

// right compares the lanes with the standard library.
func right() bool {
	const n = 3 * sha256.BlockSize
	b := make([]byte, n+width)
	for i := range b {
		b[i] = byte(i * i)
	}
	var ws []*write
	for i := range width {
		ws = append(ws, &write{h: sha256.New(), p: b[i:][:n]})
	}
	for range 2 { // the second goes on from where the first ended
		if !together(ws) {
			return false
		}
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
	write     write
	at        int // the bytes after the last whole block
}

func newHash(t *turns) *laneHash {
	h := sha256.New()
	return &laneHash{Hash: h, turns: t, write: write{h: h, turn: make(chan []*write, 1)}}
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
		h.write.p = p[:min(len(p), maxWrite)/sha256.BlockSize*sha256.BlockSize]
		h.turns.hash(&h.write)
		p = p[len(h.write.p):]
		h.write.p = nil
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
	mu      sync.Mutex // guards the fields below; a leaf
	waiting []*write
	single  int // turns of one write each that are under way
	shared  int // turns of several writes that are under way
}

// write is whole blocks that wait for a turn.
type write struct {
	h    hash.Hash
	p    []byte
	turn chan []*write // gets the writes of a turn that the receiver runs; none: another one ran it
}

// hash hashes the first bytes of w, and cuts w to them. They are whole blocks.
func (t *turns) hash(w *write) {
	t.mu.Lock()
	t.waiting = append(t.waiting, w)
	t.mu.Unlock()
	runtime.Gosched() // others that can run come to wait too, before this one holds the processor
	t.mu.Lock()
	t.give(runtime.GOMAXPROCS(0))
	t.mu.Unlock()
	if turn := <-w.turn; len(turn) > 0 {
		t.run(turn)
	}
}

// give gives turns to those who wait, as many as there may be at once on so many processors. A second
// shared turn has half of the lanes at least: with fewer it costs more than it brings. mu is held.
func (t *turns) give(processors int) {
	for {
		n := min(len(t.waiting), width)
		switch {
		case n >= least && t.shared == 0, n >= width/2 && t.shared < processors:
			t.shared++
		case n > 0 && t.shared == 0 && t.single < processors:
			n = 1
			t.single++
		default:
			return
		}
		turn := slices.Clone(t.waiting[:n])
		t.waiting = slices.Delete(t.waiting, 0, n)
		turn[0].turn <- turn
	}
}

// run hashes the writes of a turn. The caller owns the first one. The owners of the others are told, and
// come to wait again before the next turn begins.
func (t *turns) run(turn []*write) {
	count := &t.shared
	if len(turn) == 1 {
		count = &t.single
	}
	if len(turn) == 1 || !together(turn) {
		for _, w := range turn {
			w.h.Write(w.p)
		}
	}
	for _, w := range turn[1:] {
		w.turn <- nil
	}
	runtime.Gosched()
	t.mu.Lock()
	*count--
	t.give(runtime.GOMAXPROCS(0))
	t.mu.Unlock()
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

// marshaler is the standard library's hash as together needs it.
type marshaler interface {
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// together hashes writes, width of them at most, each up to the end of the shortest one. It cuts
// them to what was hashed. If the processor can't, or the states aren't such as it knows, it does nothing
// and gives false.
func together(ws []*write) bool {
	if !capable() {
		return false
	}
	var s states
	saved := make([][stateSize]byte, len(ws))
	n := len(ws[0].p)
	for i, w := range ws {
		m, ok := w.h.(marshaler)
		if !ok {
			return false
		}
		b, err := m.AppendBinary(saved[i][:0])
		if err != nil || len(b) != stateSize {
			return false
		}
		for word := range s {
			s[word][i] = binary.BigEndian.Uint32(b[stateWords+4*word:])
		}
		n = min(n, len(w.p))
	}
	for at := 0; at < n; at += pieceLen {
		piece(&s, ws, at, min(n, at+pieceLen))
	}
	for i, w := range ws {
		b := saved[i][:]
		for word := range s {
			binary.BigEndian.PutUint32(b[stateWords+4*word:], s[word][i])
		}
		binary.BigEndian.PutUint64(b[stateLength:], binary.BigEndian.Uint64(b[stateLength:])+uint64(n))
		if err := w.h.(marshaler).UnmarshalBinary(b); err != nil {
			if i == 0 {
				return false
			}
			panic(err) // the first one took such bytes
		}
		w.p = w.p[:n]
	}
	return true
}

// piece adds the bytes from one offset to another to the states. The runtime can preempt the goroutine
// where this function is called, but not in blocks.
//
//go:noinline
func piece(s *states, ws []*write, from, to int) {
	var messages [width]*byte
	for i := range messages {
		messages[i] = &ws[min(i, len(ws)-1)].p[from] // the states of lanes without a write are dropped
	}
	blocks(s, &messages, (to-from)/sha256.BlockSize)
}
