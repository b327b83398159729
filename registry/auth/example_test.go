package auth_test

import (
	"context"
	"fmt"

	"github.com/ocifs/ocifs/registry/auth"
	"github.com/ocifs/ocifs/registry/ref"
)

// A program that has a user name and a password gives them to the client of one registry.
func ExampleStatic() {
	source := auth.Static("registry.example", "jane", "s3cret")
	for _, r := range []ref.Repository{{Host: "registry.example", Path: "team/app"}, {Host: "ghcr.io", Path: "org/app"}} {
		c, err := source.Credential(context.Background(), r)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %q\n", r, c.Username)
	}
	// Output:
	// registry.example/team/app: "jane"
	// ghcr.io/org/app: ""
}

// vault is a source of a program's own: one method is enough.
type vault map[string]auth.Credential

func (v vault) Credential(_ context.Context, r ref.Repository) (auth.Credential, error) {
	return v[r.Host], nil
}

// A source of one's own has one method. What else it knows, it says by the methods of
// NextSource, VersionSource, HostSource and SearchSource.
func ExampleSource() {
	var source auth.Source = vault{"registry.example": {Username: "jane", Password: "s3cret", Origin: "jane from the vault"}}
	c, err := source.Credential(context.Background(), ref.Repository{Host: "registry.example"})
	fmt.Println(c.Origin, err)
	fmt.Println(auth.Hosts(source))
	// Output:
	// jane from the vault <nil>
	// []
}
