package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ocifs/ocifs/integration/internal/registries"
)

// followers are programs that show what comes to $M/.ocifs/errors.jsonl, the first two
// without the lines that are there.
var followers = []string{
	"tail -n 0 -s 0.1 -f $M/.ocifs/errors.jsonl",
	"tail -n 0 -s 0.1 --max-unchanged-stats=1 -F $M/.ocifs/errors.jsonl",
	"tail -n +1 -s 0.1 -f $M/.ocifs/errors.jsonl",
	"tail -n +1 -s 0.1 --max-unchanged-stats=1 -F $M/.ocifs/errors.jsonl",
	"while sleep 0.1; do cat; done <$M/.ocifs/errors.jsonl",
	`bash -c 'while sleep 0.1; do while read -r line; do echo "$line"; done; done' <$M/.ocifs/errors.jsonl`,
}

// Programs that follow errors.jsonl show each line that comes once, and none of those that
// read it are told another size than they read. More lines than the 500 that it shows make no
// difference.
func TestErrorsAreFollowed(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	m := testMount(t, mounting{})
	const kept = 500
	failed := 0
	fail := func(n int) {
		t.Helper()
		m.sh(`seq -f %s/%%064.0f %d %d | xargs -n 100 stat 2>/dev/null; true`, m.at(s, testImage, "blobs/sha256"), failed+1, failed+n)
		failed += n
	}
	// lines are those of the failures from one to another.
	lines := func(from, to int) (want []string) {
		for i := from; i <= to; i++ {
			want = append(want, fmt.Sprintf("%064d", i))
		}
		return want
	}
	// shown are the failures whose lines a program has printed.
	shown := func(name string) (got []string) {
		for path := range strings.Lines(m.sh("jq -r .path <%s", name)) {
			got = append(got, path[strings.LastIndexByte(path, '/')+1:len(path)-1])
		}
		return got
	}
	sizes := func() {
		t.Helper()
		got := m.sh(`cd $M/.ocifs; stat -c %%s errors.jsonl; wc -c <errors.jsonl; cat errors.jsonl | wc -c
			dd if=errors.jsonl bs=1000 2>/dev/null | wc -c; tail -c +1 errors.jsonl | wc -c
			for copy in cp 'cp -a' 'rsync -t'; do $copy errors.jsonl $HOME/copy; stat -c %%s $HOME/copy; rm $HOME/copy; done
			tar c errors.jsonl | tar x -O | wc -c`)
		if sizes := strings.Fields(got); len(sizes) != 9 || len(slices.Compact(sizes)) != 1 {
			t.Errorf("after %d failures the sizes are %q", failed, sizes)
		}
	}
	type running struct {
		program, out string
		from         int // the first failure that it is to show
	}
	var all []running
	do := m.shell()
	do("pids=")
	t.Cleanup(func() { do("kill $pids; wait") })
	fail(1)
	for _, n := range []int{2, kept + 20, 2, kept + 10} {
		for i, program := range followers {
			r := running{program, fmt.Sprintf("%s/%d", m.Home, len(all)), max(1, failed-kept+1)}
			if i < 2 {
				r.from = failed + 1
			}
			all = append(all, r)
			do(fmt.Sprintf(`%s >%s 2>&1 & pids="$pids $!"`, program, r.out))
			// It has begun when it isn't at the file's beginning any more.
			do(`until [ "$(for f in /proc/$!/fd/*; do [ $f -ef $M/.ocifs/errors.jsonl ] && sed -n 's/^pos:\t*//p' /proc/$!/fdinfo/${f##*/}; done)" -gt 0 ] 2>/dev/null; do sleep 0.02; done`)
		}
		fail(n)
		sizes()
	}
	for _, r := range all {
		want := lines(r.from, failed)
		var got []string
		for deadline := time.Now().Add(30 * time.Second); len(got) < len(want) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
			got = shown(r.out)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s shows %d lines, want the %d from failure %d on: it has\n%.2000s", r.program, len(got), len(want), r.from, m.sh("cat %s", r.out))
		}
	}
	if got := strings.Count(m.sh("cat $M/.ocifs/errors.jsonl"), "\n"); got != kept {
		t.Errorf("errors.jsonl has %d lines, want %d", got, kept)
	}
}

// A control file that is written anew as a whole is read to its end as it was when it was
// opened, its size is that of what is read, and programs that open it get the new one.
func TestControlFilesAreReplaced(t *testing.T) {
	t.Parallel()
	s := startOlareg(t, registries.Options{})
	m := testMount(t, mounting{})
	do := m.shell()
	do("cd $M/.ocifs; exec 3<uploads.json 4<uploads.json; cat uploads.json >$HOME/before; cat <&3 | cmp - $HOME/before")
	m.sh("echo blob >%s", m.at(s, testImage, "upload/blobs/x"))
	if got := m.sh("jq -r '.[].state' $M/.ocifs/uploads.json"); got != "pushed\n" {
		t.Errorf("after a push uploads.json has the states %q", got)
	}
	do("[ $(stat -L -c %s /proc/self/fd/4) = $(stat -c %s $HOME/before) ] && cat <&4 | cmp - $HOME/before")
	do("[ $(stat -c %s uploads.json) = $(cat uploads.json | wc -c) ] && ! cmp -s uploads.json $HOME/before")
	for _, name := range []string{"config.json", "stats.json", "transfers.json", "uploads.json", "version"} {
		for _, copies := range []string{"cp", "cp -a", "rsync -t"} { // cp is particular about the inode number
			do(copies + " " + name + " $HOME/copy && [ -s $HOME/copy ] && rm $HOME/copy")
		}
		do("head -c 3 " + name + " | cmp -n 3 - " + name)
	}
	do("for i in 1 2 3; do jq -e .pid stats.json >/dev/null || exit 1; done; cd /; exec 3<&- 4<&-")
}
