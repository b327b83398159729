module github.com/ocifs/ocifs

go 1.26.0

require github.com/opencontainers/go-digest v1.0.0
