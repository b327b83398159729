package auth

import "errors"

// The helpers of these tests are shell scripts: on Windows the tests are vetted, and not run.

func kill(int) error { return errors.ErrUnsupported }

func gone(int) bool { return true }

func mkfifo(string) error { return errors.ErrUnsupported }
