# The one door. Every target is a script in scripts/; `make` alone lists them.
#
#   CAMERAS="rtsp://… /dev/video0 clip.mp4"   your own cameras for the demo
#   LISTEN=0.0.0.0                            the demo's page for other machines
#   SECONDS=60                                end the demo by itself
#   NAME=store                                one benchmark only
#   LONG=1                                    the long form of a benchmark that has one
#   MACHINE=qemux86-64                        the machine of an image
#   LAYERS=folder                             checkouts of the Yocto layers
#   HEADERS=folder                            for gpu-abi: folders with NvInfer.h, at any depth

.DEFAULT_GOAL := help
.PHONY: help demo test test-box test-tensorrt gpu-abi test-aarch64 check bench ui dist image yocto-check box box-run setup clean
export CAMERAS LISTEN LONG NAME MACHINE LAYERS MACHINES

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\): *##/\1:/p' Makefile | awk -F': *' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: ## simulated cameras, a broker, the daemon and its page
	@scripts/demo.sh $(SECONDS)

test: ## every test
	@scripts/test.sh

test-box: ## the virtual box: first start, updates, a broken release, power cuts (as root)
	@bash scripts/test-box.sh

test-tensorrt: ## the GPU's part against NVIDIA's real compilers and TensorRT-RTX, without a GPU
	@bash scripts/test-tensorrt.sh

test-aarch64: ## base, engine and store built for a Jetson's kind of CPU, and their tests under emulation
	@bash scripts/test-aarch64.sh

gpu-abi: ## TensorRT's headers in HEADERS=folder against the tables of daemon/gpu
	@daemon/gpu/abi/check.py $(HEADERS)

check: ## format, lints, documentation, licences, linked libraries, the page's code
	@scripts/check.sh

bench: ## the benchmarks, to target/bench/*.json and a table
	@scripts/bench.sh $(NAME)

ui: ## build the page
	@scripts/ui.sh build

dist: ## source archive for builds without a network
	@scripts/dist.sh

image: ## the firmware image for MACHINE, by kas and Yocto
	@scripts/image.sh

yocto-check: ## parse and resolve the Yocto layer beside the checkouts in LAYERS
	@scripts/yocto-check.sh

box: ## the virtual box: a disk image like a real box's, its update bundle (as root)
	@hw-tests/virtual-box/build.sh

box-run: ## boot the virtual box in QEMU
	@hw-tests/virtual-box/run.sh

setup: ## install what is missing
	@scripts/setup.sh

clean: ## remove what was built
	cargo clean
	rm -rf daemon/ui/dist daemon/ui/dist.stamp daemon/ui/node_modules
