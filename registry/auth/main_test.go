package auth

import (
	"os"
	"testing"

	"github.com/ocifs/ocifs/registry/registrytest"
)

func TestMain(m *testing.M) { os.Exit(registrytest.NoLeaks(m)) }
