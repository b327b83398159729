package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// output is what a command line prints, and its error.
func output(args ...string) (string, error) {
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.Execute()
	return out.String(), err
}

// 'ocifs help TOPIC' shows every topic, 'ocifs help' names all of them, and none is
// spelled like a command.
func TestHelpShowsTheTopics(t *testing.T) {
	overview, err := output("help")
	if err != nil || !strings.Contains(overview, "unmount") {
		t.Errorf("%v: %s", err, overview)
	}
	for _, topic := range topics() {
		text, err := output("help", topic.Name)
		if err != nil || !strings.HasPrefix(text, "ocifs "+topic.Name+": "+topic.Summary) || strings.Count(text, "\n") < 10 {
			t.Errorf("%s: %v: %s", topic.Name, err, text)
		}
		if !strings.Contains(overview, topic.Name+" ") || !strings.Contains(overview, topic.Summary) {
			t.Errorf("'ocifs help' doesn't name %s", topic.Name)
		}
		if c, _, err := rootCommand().Find([]string{topic.Name}); err == nil && c.HasParent() {
			t.Errorf("%s is a command and a topic", topic.Name)
		}
	}
}

// 'ocifs help COMMAND' shows a command, one within another too.
func TestHelpShowsACommand(t *testing.T) {
	for command, want := range map[string]string{"mount": "mount [SOURCE] MOUNTPOINT", "cache prune": "ocifs cache prune"} {
		text, err := output(append([]string{"help"}, strings.Fields(command)...)...)
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v: %s", command, err, text)
		}
	}
}

// A topic that isn't there is a usage error that names the nearest one.
func TestHelpNamesTheNearestTopic(t *testing.T) {
	for wrong, near := range map[string]string{"tre": "'ocifs help tree'", "errrs": "'ocifs help errors'", "mounts": "'ocifs help mount'", "xyzzyxyzzy": "'ocifs help' lists"} {
		_, err := output("help", wrong)
		if err == nil || !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), near) || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}

// Settings are in the manual with their defaults.
func TestTheManualHasTheSettings(t *testing.T) {
	text, err := output("help", "settings")
	for _, want := range []string{"--tag-ttl", "--plain-http", "--allow-other", "Default: 8"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("%v: %q isn't in %s", err, want, text)
		}
	}
}
