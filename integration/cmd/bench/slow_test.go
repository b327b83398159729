package main

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/content"
)

// A connection carries all that is sent, and no more than its rate; what another one
// carries is not taken from it.
func TestASlowLinkKeepsItsRate(t *testing.T) {
	const size, rate = 1 << 20, 4 << 20 // a quarter of a second
	want := content.NoiseBytes(1, size)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // as a server does: what is asked first, then all
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 4)); err == nil {
					c.Write(want)
				}
			}()
		}
	}()
	link, err := newSlowLink(l.Addr().String(), rate)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			begin := time.Now()
			c, err := net.Dial("tcp", link.Host)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			c.Write([]byte("send"))
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes came, %v; want %d that are the same", len(got), err, len(want))
			}
			least := size*time.Second/rate - slowCredit
			if took := time.Since(begin); took < least {
				t.Errorf("it took %s, which is faster than %s", took, least)
			}
		})
	}
	wg.Wait()
	if err := link.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", link.Host); err == nil {
		t.Error("a closed link takes connections")
	}
}
