package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	tokenUser = "<token>" // the user name that stands for an identity token
	maxOutput = 1 << 20   // bytes that a helper may write: a token has some thousand
	maxCause  = 200       // bytes of a helper's complaint that are shown
	// lingers is how long the output of a helper is waited for that has ended while
	// something that it started holds the output open.
	lingers = time.Second
)

// lookHelper finds a helper's program on PATH. Directories that lead into one of
// the excluded ones are passed over, and so are relative ones, as everywhere in Go.
func lookHelper(helper string, excluded []string) (string, error) {
	name := "docker-credential-" + helper + programSuffix
	if strings.ContainsAny(helper, "/\x00") {
		return "", fmt.Errorf("%q is no name of a program", name)
	}
	inside := ""
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if !filepath.IsAbs(dir) {
			continue
		}
		path := filepath.Join(dir, name)
		if leadsInto(path, excluded) {
			inside = path
			continue
		}
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && isProgram(st) {
			return path, nil
		}
	}
	if inside != "" {
		return "", fmt.Errorf("%s isn't on PATH, but for what the mount itself may have: %s", name, inside)
	}
	return "", fmt.Errorf("%s isn't on PATH", name)
}

// runHelper asks a helper for what it has for a key (docker's credential helper
// protocol). That it has nothing is no error. No error holds what may be a secret.
func runHelper(ctx context.Context, path, key string, limit time.Duration) (Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var out, complaint output
	cmd := exec.CommandContext(ctx, path, "get")
	cmd.Dir = filepath.VolumeName(path) + string(filepath.Separator)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(key), &out, &complaint
	alone(cmd)
	cmd.WaitDelay = lingers
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Credential{}, fmt.Errorf("no answer within %s", limit)
	case out.endless || complaint.endless:
		return Credential{}, errEndless
	case errors.As(err, &exit):
		said := strings.TrimSpace(string(out.b))
		if strings.Contains(strings.ToLower(said), "credentials not found") {
			return Credential{}, nil
		}
		if said == "" {
			said = strings.TrimSpace(string(complaint.b))
		}
		return Credential{}, fmt.Errorf("%w%s", err, cause(said))
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return Credential{}, err
	}
	var said struct{ Username, Secret string }
	if json.Unmarshal(out.b, &said) != nil {
		return Credential{}, errors.New("what it wrote is no answer")
	}
	if said.Username == tokenUser {
		return Credential{IdentityToken: said.Secret}, nil
	}
	return Credential{Username: said.Username, Password: said.Secret}, nil
}

// cause is what a helper that failed says, on one line. What looks like an answer
// may be one.
func cause(said string) string {
	if said == "" || strings.ContainsAny(said, "{}") {
		return ""
	}
	said = strings.Join(strings.Fields(said), " ")
	if len(said) > maxCause {
		said = said[:maxCause] + "…"
	}
	return ": " + strings.ToValidUTF8(said, "")
}

// output is what a helper wrote. Too much ends the helper.
type output struct {
	b       []byte
	endless bool
}

var errEndless = errors.New("it writes without end")

func (o *output) Write(p []byte) (int, error) {
	if len(o.b)+len(p) > maxOutput {
		o.endless = true
		return 0, errEndless
	}
	o.b = append(o.b, p...)
	return len(p), nil
}
