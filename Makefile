# wazlet. `make help` lists the targets.

GO       ?= go
BIN      := bin
TOOL     := $(GO) tool -modfile=.ci/tools.mod
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
EXAMPLES := $(patsubst deploy/examples/%/main.go,%,$(wildcard deploy/examples/*/main.go))
GUESTS   := $(EXAMPLES:%=$(BIN)/examples/%.wasm)
# What a C guest is built with, where Debian's clang, lld, wasi-libc and libclang-rt-dev-wasm32 are installed.
CLANG    ?= clang
WASM_CC  := $(CLANG) --target=wasm32-wasi --sysroot=/usr -O2
HAVE_CC  := $(shell printf 'int main(void){return 0;}' | $(WASM_CC) -x c -o /dev/null - 2>/dev/null && echo yes)
ifeq ($(HAVE_CC),yes)
C_EXAMPLES := $(patsubst deploy/examples/%/main.c,%,$(wildcard deploy/examples/*/main.c))
GUESTS     += $(C_EXAMPLES:%=$(BIN)/examples/%.wasm)
endif

RUN      := .run
# The development cluster: its directory, and the network namespace it runs in (root; empty: none). It is a module of its
# own, because it links all of Kubernetes: the first build takes minutes.
CLUSTER  ?= $(RUN)/cluster
NETNS    ?= $(if $(filter 0,$(shell id -u)),wazlet)
# Not ip netns exec, which hides the cgroups: Pods would run without limits.
INSIDE   := $(if $(NETNS),nsenter --net=/run/netns/$(NETNS))
DEV      := deploy/devcluster
K8S      := k8s.io/component-base/version
DEVFLAGS := -s -w -X $(K8S).gitVersion=v1.36.3 -X $(K8S).gitMajor=1 -X $(K8S).gitMinor=36
SEEDS    ?= 200

.PHONY: help build run examples import cluster cluster-down test test-unit test-sim test-e2e test-devcluster wasi-testsuite lint fmt bench bench-cluster gen check ci clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/wazlet and bin/wazlet-shim
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/wazlet ./cmd/wazlet-shim

examples: $(GUESTS) ## the example guests, into bin/examples

$(BIN)/examples/%.wasm: deploy/examples/%/main.go
	@mkdir -p $(@D)
	GOOS=wasip1 GOARCH=wasm $(GO) build -trimpath -o $@ ./$(<D)

$(BIN)/examples/%.wasm: deploy/examples/%/main.c
	@mkdir -p $(@D)
	$(WASM_CC) -o $@ $<

run: build import ## a standalone node on the example Pods, in the foreground; Ctrl-C drains it
	@mkdir -p $(RUN)/manifests && cp deploy/examples/manifests/*.yaml $(RUN)/manifests/
ifeq ($(HAVE_CC),yes)
	@cp deploy/examples/manifests-c/*.yaml $(RUN)/manifests/
endif
	@printf '%s\n' 'apiVersion: wazlet.dev/v1alpha1' 'kind: NodeConfiguration' 'nodeName: local' 'rootDir: $(CURDIR)/$(RUN)/state' \
	  'podLogsDir: $(CURDIR)/$(RUN)/log' 'manifestDir: $(CURDIR)/$(RUN)/manifests' 'logging: {level: info, format: text}' > $(RUN)/node.yaml
	$(BIN)/wazlet run --config $(RUN)/node.yaml

import: build examples
	@for g in $(GUESTS); do n=$$(basename $$g .wasm); \
	  $(BIN)/wazlet image import $$g --name localhost/wazlet-examples/$$n:v1 --root-dir $(RUN)/state || exit 1; done

$(BIN)/devcluster: $(wildcard $(DEV)/*.go $(DEV)/internal/*/*.go) $(DEV)/go.mod
	cd $(DEV) && $(GO) build -ldflags '$(DEVFLAGS)' -o $(CURDIR)/$@ .

$(BIN)/kubectl: $(DEV)/go.mod
	cd $(DEV) && $(GO) build -ldflags '$(DEVFLAGS)' -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/kubectl

# The real metrics-server, for the end-to-end test: minutes of two cores the first time.
$(BIN)/metrics-server: $(DEV)/metricsserver/go.mod
	cd $(DEV)/metricsserver && $(GO) build -ldflags '-s -w' -o $(CURDIR)/$@ sigs.k8s.io/metrics-server/cmd/metrics-server

# What the bench of the cluster compares with.
$(BIN)/virtual-kubelet: $(DEV)/virtualkubelet/go.mod
	cd $(DEV)/virtualkubelet && $(GO) build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/virtual-kubelet/virtual-kubelet/cmd/virtual-kubelet

cluster: build examples $(BIN)/devcluster $(BIN)/kubectl ## a control plane on loopback, and a node of it in the foreground; Ctrl-C drains the node
	@$(BIN)/devcluster status --dir $(CLUSTER) >/dev/null 2>&1 || \
	  $(BIN)/devcluster up --dir $(CLUSTER) $(if $(NETNS),--netns $(NETNS)) >/dev/null
	@$(INSIDE) $(BIN)/kubectl --kubeconfig $(CLUSTER)/admin.kubeconfig apply -f deploy/runtimeclass >/dev/null
	@for g in $(GUESTS); do n=$$(basename $$g .wasm); \
	  $(BIN)/wazlet image import $$g --name localhost/wazlet-examples/$$n:v1 --root-dir $(CLUSTER)/node >/dev/null || exit 1; done
	@printf '%s\n' 'apiVersion: wazlet.dev/v1alpha1' 'kind: NodeConfiguration' 'nodeName: edge-1' 'rootDir: $(CURDIR)/$(CLUSTER)/node' \
	  'podLogsDir: $(CURDIR)/$(CLUSTER)/node/log' 'manifestDir: ""' 'kubeconfig: $(CURDIR)/$(CLUSTER)/node.kubeconfig' \
	  'bootstrapKubeconfig: $(CURDIR)/$(CLUSTER)/bootstrap.kubeconfig' $(if $(NETNS),'nodeIP: 10.99.0.2') \
	  'logging: {level: info, format: text}' > $(CLUSTER)/node.yaml
	@$(BIN)/devcluster status --dir $(CLUSTER)
	@echo 'export PATH=$(CURDIR)/$(BIN):$$PATH'
	@echo 'try: $(INSIDE) kubectl get nodes; $(INSIDE) kubectl apply -f deploy/examples/cluster; make cluster-down when done'
	$(INSIDE) $(BIN)/wazlet run --config $(CLUSTER)/node.yaml

cluster-down: $(BIN)/devcluster ## ends it and removes its state
	$(BIN)/devcluster down --dir $(CLUSTER) --purge

test: test-unit test-sim test-devcluster test-e2e ## everything

test-unit: ## unit tests with the race detector
	$(GO) test -race ./...
	$(GO) test ./moduleactor/engine -run '^TestGo' # left out with the race detector, which makes wazero too slow for Go guests

test-sim: ## the seeded simulations, SEEDS of them (default 200)
	$(GO) test ./podactor ./nodeactor -run Simulation -count=1 -timeout 12h -args -sim.seeds $(SEEDS)

test-e2e: build examples $(BIN)/devcluster $(BIN)/kubectl $(BIN)/metrics-server ## the real binaries, end to end, on a real control plane too (root)
	$(GO) test -race -count=1 -timeout 20m -tags e2e ./cmd/wazlet/e2e

test-devcluster: $(BIN)/devcluster $(BIN)/kubectl ## the development cluster itself
	cd $(DEV) && $(GO) test -vet=off -count=1 -timeout 15m ./internal/... ./e2e

wasi-testsuite: ## WebAssembly/wasi-testsuite in both isolations: DIR is a checkout of its branch prod/testsuite-base
	@test -d '$(DIR)/tests' || { echo 'usage: make wasi-testsuite DIR=<checkout of WebAssembly/wasi-testsuite, branch prod/testsuite-base>' >&2; exit 2; }
	WAZLET_WASI_TESTSUITE='$(abspath $(DIR))' $(GO) test -count=1 -v ./cmd/wazlet-shim -run TestWASITestsuite

lint: ## golangci-lint and go vet for every platform we build on
	$(TOOL) golangci-lint run ./...
	$(TOOL) golangci-lint run --build-tags e2e ./cmd/wazlet/e2e
	GOOS=linux GOARCH=arm64 $(GO) vet ./...
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/wazlet
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/wazlet-shim
	GOOS=wasip1 GOARCH=wasm $(GO) vet ./deploy/examples/...

fmt: ## gofumpt and gci
	$(TOOL) golangci-lint fmt ./...

# QUICK=1: a tenth of everything. PARTS=start,shared: only these, without the cluster.
comma      := ,
BENCHFLAGS := $(if $(PARTS),--parts $(PARTS)) $(if $(QUICK),--quick)

bench: build examples $(if $(PARTS),,bench-cluster) ## measures side by side with what we are compared to, and prints ratios
	$(GO) run ./cmd/wazlet-bench --bin $(BIN) $(BENCHFLAGS)

bench-cluster: build $(BIN)/devcluster $(BIN)/virtual-kubelet ## Pods of a real control plane, beside virtual-kubelet's mock provider (root)
	$(GO) run ./cmd/wazlet-bench --bin $(BIN) --cluster $(if $(QUICK),--pods 1$(comma)20)

gen: ## generated files
	$(GO) generate ./...

check: ## what CI checks besides the tests: tidy, generated files, format, lint
	$(GO) mod tidy -diff
	cd $(DEV) && $(GO) mod tidy -diff
	cd $(DEV)/metricsserver && $(GO) mod tidy -diff
	cd $(DEV)/virtualkubelet && $(GO) mod tidy -diff
	$(TOOL) golangci-lint fmt --diff ./...
	$(MAKE) gen && git diff --exit-code
	$(MAKE) lint

ci: check test ## what CI runs

clean: ## removes what was built; a node's state in .run too
	@test ! -f $(RUN)/cluster/lock || $(BIN)/devcluster down --dir $(RUN)/cluster --purge
	rm -rf $(BIN) $(RUN)
