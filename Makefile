# Two commands do the set-up on a fresh machine with Go: make demo, make test.

BIN      := $(CURDIR)/bin
TOOLS    := $(CURDIR)/.cache/bin
LINT     := $(TOOLS)/golangci-lint
# A cache that another checkout shares names that checkout's files in its reports.
export GOLANGCI_LINT_CACHE := $(CURDIR)/.cache/lint
LINT_VER := v2.12.2
FUZZTIME ?= 30s
RACETIME ?= 25m
# The whole data set where a checkout of it lies beside this one, the sample elsewhere.
DATA     ?= $(firstword $(wildcard ../*/data/cities.jsonl.gz) testdata/cities-sample.jsonl.gz)

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c

export CGO_ENABLED ?= 0
export WEFT_BENCH_DATA ?= $(abspath $(DATA))

.PHONY: help all build wasm demo test race slow adversary lint fmt check fuzz stress soak bench bench-peers cover gen vectors clean manual install dist site

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

all: gen fmt lint test ## everything that changes or checks the tree

build: ## build bin/weft
	@[ -x $(BIN)/weft ] || echo "Building bin/weft. The first time some 150 modules are loaded and compiled: two to five minutes."
	go build -trimpath -buildvcs=auto -o $(BIN)/weft ./cmd/weft

# What a device in a browser tab needs as it is: no libp2p, no engine, no socket, no HTTP.
WASM := ./db/... ./keys ./inbox ./net/internal/format ./net/internal/wire ./net/internal/tipset ./net/internal/blobs ./net/internal/control ./net/internal/logstore ./net/internal/verify ./net/internal/thread ./internal/canonical ./internal/store
WASM_NOT := (net/http|github.com/(libp2p|dgraph-io/badger|ipfs/go-ds-badger|cockroachdb/pebble|quic-go|gorilla/websocket))

wasm: export GOOS := js
wasm: export GOARCH := wasm
wasm: export CGO_ENABLED := 0
wasm: ## build what a browser needs for a browser
	go build $(WASM)
	@deps=$$(go list -deps $(WASM)) && ! grep -E '^$(WASM_NOT)' <<<"$$deps"

demo: build ## run the main job on real data: two devices, one relay, on loopback
	go run ./cmd/demo -weft $(BIN)/weft -data $(DATA) -files testdata/files

test: ## run the tests
	@echo "Running the tests: some five minutes on two cores, after the first time, when all is compiled. Packages are listed as they end."
	go test -shuffle=on -timeout 10m ./...

# Packages that start no goroutine and share nothing, the model, and attacks on whole nodes: the detector would only make them slow. Of the
# command line's stories those with several nodes; the others do the same to one.
RACE_NOT     := internal/model|net/internal/adversary|internal/store/engines|db/internal/(expr|keyspace|lthash|number|payload|pipeline|query|rules|schema|text|update|value)|net/internal/(control|format|tipset|wire)|cmd/weft
RACE_STORIES := blobs|compact|import|leaves|lostphone|relay
race: ## run the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -shuffle=on -timeout $(RACETIME) $$(go list ./... | grep -vE '/($(RACE_NOT))$$')
	CGO_ENABLED=1 go test -race -run '^TestScripts$$/^($(RACE_STORIES))$$' -timeout $(RACETIME) -v ./cmd/weft | grep -E '^ +--- |^(ok|FAIL|panic)|testscript'

slow: ## run the long suites: 100 kills, many random histories
	go test -tags slow -run 'Slow' -timeout 15m -v $$(go list ./... | grep -v /adversary$$) | grep -E '^(---|ok|FAIL|PASS|panic)|_test.go:'

adversary: ## attack whole nodes at full size: 10,000 joins, 15,000 logs, 400 MB (not in CI)
	go test -tags slow -run '^TestSlowAdversary$$' -timeout 60m -v ./net/internal/adversary

lint: $(LINT) ## vet, golangci-lint with the import arrows
	go vet ./...
	$(LINT) run --timeout 10m ./...

$(LINT):
	GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VER)

fmt: $(LINT) ## format the Go code
	$(LINT) fmt ./...

check: ## what CI runs
	CI=true bash .ci/run

fuzz: ## fuzz every decoder, FUZZTIME each (30s)
	@set -e; for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "fuzz $$pkg $$f"; $(FUZZ) "$$pkg" "$$f"; done; done

# One target for FUZZTIME. Go before 1.27 may report the end of that time as a failure (go.dev/issue/75804):
# then the deadline is all it names. A finding always names its input.
define FUZZ
fuzz() { local out=0 log; log=$$(mktemp); \
  go test -run '^$$' -fuzz "^$$2\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x -parallel 2 $$1 2>&1 | tee $$log || out=$$?; \
  if [ $$out != 0 ] && grep -qx '    context deadline exceeded' $$log && ! grep -qE 'Failing input|panic|minimizing' $$log; then out=0; echo "the time was up: no finding"; fi; \
  rm -f $$log; return $$out; }; fuzz
endef

PREFIX  ?= /usr/local
DESTDIR ?=
# What the command line's own test writes: manual pages and completions.
MANUAL := $(CURDIR)/.cache/manual

manual: ## write the manual pages and completions to .cache/manual
	@rm -rf $(MANUAL)
	WEFT_MANUAL=$(MANUAL) go test -count=1 -run '^TestManual$$' ./cmd/weft

install: build manual ## install the program, its manual and completions below PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	  $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 755 $(BIN)/weft $(DESTDIR)$(PREFIX)/bin/weft
	install -m 644 $(MANUAL)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 $(MANUAL)/completions/weft.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/weft
	install -m 644 $(MANUAL)/completions/_weft $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_weft
	install -m 644 $(MANUAL)/completions/weft.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/weft.fish

PLATFORMS ?=
VERSION   ?=
dist: ## build what is given to people into dist: PLATFORMS (all), VERSION (of the commit)
	cd cmd/dist && CGO_ENABLED=0 go run . -source $(CURDIR) -out $(CURDIR)/dist -platforms "$(PLATFORMS)" -version "$(VERSION)"

# Hugo is built once, into the cache of Go: two minutes.
site: ## build the guides, the command reference and the design as static pages into dist/site
	rm -rf dist/site
	cd docs/site && CGO_ENABLED=0 go tool hugo --quiet --destination $(CURDIR)/dist/site
	@echo "dist/site/index.html: $$(find dist/site -name '*.html' | wc -l) pages, no dead link"

HISTORIES ?= 1000
stress: build ## run HISTORIES random histories of real daemons (1000; some 5 s each)
	go run ./cmd/stress -weft $(BIN)/weft -histories $(HISTORIES)

SOAK ?= 1h
soak: ## run a relay and two devices for SOAK (1h); memory and goroutines must stay flat
	go run ./cmd/stress -soak $(SOAK)

bench: ## run the benchmarks; docs/performance.md explains the ratios
	go test -run '^$$' -bench . -benchmem ./...

PEERS ?= -rounds 3 -seconds 1
bench-peers: ## the same work through Weft, SQLite and raw badger, with ratios (needs a C compiler)
	cd testdata/peers && CGO_ENABLED=1 go run -mod=mod . -data $(abspath $(DATA)) $(PEERS)

cover: ## coverage by function, in cover.out
	go test -coverprofile=cover.out ./... && go tool cover -func=cover.out | tail -1

gen: ## generate code from the RPC schema
	go generate ./...

# The packages whose formats testdata/vectors has.
VECTORS = $(sort $(dir $(shell grep -rl --include='*_test.go' 'vectors[.]Vector{' keys inbox buckets db net internal/canonical internal/clock node)))

vectors: ## write testdata/vectors anew, after a format changed
	WEFT_VECTORS=write go test -count=1 -run '^TestVectors$$' $(addprefix ./,$(VECTORS))

clean: ## remove what the targets built
	rm -rf bin dist .cache cover.out
