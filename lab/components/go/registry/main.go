// Command registry is distribution's server with what the lab uses of it: file system storage and passwords.
//
// The project's own main links the drivers of three cloud storages, whose clients double the program's memory.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1) // it has told the error already
	}
}
