# ocifs: build, test, try. `make` alone says what there is.
#
# Everything here works on a machine that has Go, make and git and nothing else:
# what is missing is installed by integration/setup.sh, which says what it does.

GO     ?= go
PREFIX ?= /usr/local
SBIN   ?= $(if $(filter Linux,$(shell uname -s)),/sbin)
ARGS   ?=

BIN     := $(CURDIR)/bin
TOOLS   := $(BIN)/tools
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# The commit that is built, and its date in UTC: the same commit makes the same program.
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null)
DATE    := $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# The code is formatted and checked for both systems that it is written for.
SYSTEMS := linux darwin

.DEFAULT_GOAL := help

.PHONY: help
help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/ocifs
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ocifs ./cmd/ocifs

# The same program with the race detector in it. The integration tests mount
# with this one, so that a data race in the daemon fails them.
.PHONY: race
race:
	CGO_ENABLED=1 $(GO) build -race -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ocifs-race ./cmd/ocifs

# The pages have the date of the commit: one commit makes the same bytes everywhere.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: man
man: ## bin/man: a page for each command and each topic of the manual
	@rm -rf $(BIN)/man && mkdir -p $(BIN)/man
	@$(GO) run -tags man -ldflags '$(LDFLAGS)' ./cmd/ocifs man $(BIN)/man

# mount.ocifs is what mount(8) runs for the type ocifs. It looks into /sbin alone.
.PHONY: install
install: build man ## ocifs and its manual into PREFIX (PREFIX=/usr/local), mount.ocifs into SBIN (SBIN=/sbin)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man7 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0755 $(BIN)/ocifs $(DESTDIR)$(PREFIX)/bin/ocifs
	install -m 0644 $(BIN)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 0644 $(BIN)/man/*.7 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m 0644 $(BIN)/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8
	ln -sf mount.ocifs.8 $(DESTDIR)$(PREFIX)/share/man/man8/mount.fuse.ocifs.8
ifneq ($(SBIN),)
	install -d $(DESTDIR)$(SBIN)
	ln -sf $(PREFIX)/bin/ocifs $(DESTDIR)$(SBIN)/mount.ocifs
	ln -sf $(PREFIX)/bin/ocifs $(DESTDIR)$(SBIN)/mount.fuse.ocifs
endif

.PHONY: packages
packages: ## bin/packages: .deb, .rpm and static binaries (ARGS=native: only this machine's)
	@integration/setup.sh packages
	@$(MAKE) --no-print-directory -s build man
	@LDFLAGS='$(LDFLAGS)' cmd/ocifs/packaging/build.sh $(BIN) $(VERSION) $(ARGS)

.PHONY: setup
setup: ## install what `make test` needs
	@integration/setup.sh test

# Packages are tested two at a time: the tests of several are about time, and a
# machine of two cores is the usual one.
.PHONY: test
test: setup unit integration ## all tests: units, then real mounts of real registries

.PHONY: unit
unit:
	$(GO) test -race -p 2 ./...

# Tests of mounts wait more than they compute: with four at a time the two cores of the usual
# machine are busy (measured: with two at a time they were idle for more than half of the time).
.PHONY: integration
integration: build race
	$(GO) -C integration test -race -p 2 -parallel 4 -count=1 -timeout 20m ./...

.PHONY: demo
demo: ## a registry, a mount and a short tour (ARGS=--once ends after the tour)
	@integration/setup.sh demo
	@$(MAKE) --no-print-directory -s build
	@$(GO) -C integration build -o $(BIN)/demo ./cmd/demo
	@$(BIN)/demo --ocifs $(BIN)/ocifs $(ARGS)

# freeze draws what a terminal shows.
.PHONY: picture
picture: ## the picture of README.md, from a run of the demo
	@integration/setup.sh picture
	@$(MAKE) --no-print-directory -s build
	@$(GO) -C integration build -o $(BIN)/demo ./cmd/demo
	@$(BIN)/demo --ocifs $(BIN)/ocifs --picture >$(BIN)/picture.ansi
	@$(BIN)/makers/freeze $(BIN)/picture.ansi --language ansi --output integration/cmd/demo/demo.svg \
		--window --padding 20 --border.radius 8 --font.family monospace --font.size 14

.PHONY: bench
bench: ## reads and pushes against the disk, curl and other programs (ARGS="-quick -rows cold")
	@integration/setup.sh bench
	@$(MAKE) --no-print-directory -s build
	@[ -d $(BIN)/bench ] || rm -f $(BIN)/bench
	@$(GO) -C integration build -o $(BIN)/bench/bench ./cmd/bench
	@$(BIN)/bench/bench --ocifs $(BIN)/ocifs --tools $(TOOLS) --out $(BIN)/bench $(ARGS)

# How long, and the seed of what happens; 0 is any.
MINUTES ?= 5
SEED    ?= 0

.PHONY: soak
soak: setup ## everything goes wrong for minutes, and no promise is broken (MINUTES=5 SEED=0 ARGS=-race)
	@$(MAKE) --no-print-directory -s build $(if $(filter -race --race,$(ARGS)),race)
	@$(GO) -C integration build -o $(BIN)/probe ./cmd/probe
	@$(GO) -C integration build -o $(BIN)/soak ./cmd/soak
	@$(BIN)/soak --ocifs $(BIN)/ocifs --ocifs-race $(BIN)/ocifs-race --probe $(BIN)/probe --tools $(TOOLS) \
		--minutes $(MINUTES) --seed $(SEED) $(ARGS)

.PHONY: behaviours
behaviours: ## what registries do in the wild, and which tests show what happens then
	@$(GO) -C integration run ./cmd/behaviours $(CURDIR)

.PHONY: lint
lint: ## gofmt, go vet for linux and darwin (the registry client: windows too), staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard -- '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is needed for:" $$unformatted >&2; exit 1; fi
	@integration/setup.sh lint
	@for system in $(SYSTEMS); do for module in . integration; do \
		echo "vet and staticcheck of $$module for $$system"; \
		GOOS=$$system $(GO) -C $$module vet ./... || exit 1; \
		(cd $$module && GOOS=$$system $(TOOLS)/staticcheck ./...) || exit 1; \
	done; done
	@echo "vet of the generator of man pages"; $(GO) vet -tags man ./cmd/ocifs
	@echo "vet of the registry client, a library, for windows"; GOOS=windows $(GO) vet ./registry/...

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
