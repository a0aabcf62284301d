# The one door. Every target is a script in scripts/; `make` alone lists them.
#
#   CAMERAS="rtsp://… /dev/video0 clip.mp4"   your own cameras for the demo
#   LISTEN=0.0.0.0                            the demo's page for other machines
#   SECONDS=60                                end the demo by itself
#   NAME=store                                one benchmark only
#   LONG=1                                    the long form of a benchmark that has one

.DEFAULT_GOAL := help
.PHONY: help demo test check bench ui dist setup clean
export CAMERAS LISTEN LONG NAME

help: ## list the targets
	@sed -n 's/^\([a-z]*\): *##/\1:/p' Makefile | awk -F': *' '{ printf "  make %-8s %s\n", $$1, $$2 }'

demo: ## simulated cameras, a broker, the daemon and its page
	@scripts/demo.sh $(SECONDS)

test: ## every test
	@scripts/test.sh

check: ## format, lints, documentation, licences, linked libraries, the page's code
	@scripts/check.sh

bench: ## the benchmarks, to target/bench/*.json and a table
	@scripts/bench.sh $(NAME)

ui: ## build the page
	@scripts/ui.sh build

dist: ## source archive for builds without a network
	@scripts/dist.sh

setup: ## install what is missing
	@scripts/setup.sh

clean: ## remove what was built
	cargo clean
	rm -rf daemon/ui/dist daemon/ui/dist.stamp daemon/ui/node_modules
