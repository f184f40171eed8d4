# The two commands of the README are `make demo` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export CCACHE_SLOPPINESS := pch_defines,time_macros
export CMAKE_GENERATOR ?= $(shell command -v ninja >/dev/null 2>&1 && echo Ninja || echo "Unix Makefiles")
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local

.PHONY: help demo test build bench gui fuzz soak gpu-check format lint install clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-10s %s\n", $$1, $$2}'

demo:  ## the main job on this machine's CPU: profile, plan, simulate, run, compare
	@tools/setup build
	@tools/build release orrery
	@build/release/cli/orrery demo

test:  ## everything that CI runs, with a time table
	@tools/setup build test gui
	@tools/test

build:  ## the program alone, into build/release
	@tools/setup build
	@tools/build release orrery

bench:  ## benchmarks, as ratios within one run
	@tools/setup build bench
	@tools/build release -DORRERY_BENCH=ON
	@for b in build/release/bench/*_bench; do $$b || exit 1; done

gui:  ## the Qt 6 window: build and start it
	@tools/setup build gui
	@tools/build release -DORRERY_GUI=ON orrery orrery-gui
	@build/release/gui/orrery-gui

fuzz:  ## every reader for FUZZ_SECONDS (default 60) each
	@tools/setup build fuzz
	@tools/fuzz

soak:  ## the long tests: full clang-tidy, fuzzing, properties with 100 times the cases
	@tools/setup build test fuzz gui
	@tools/soak

gpu-check:  ## verify the CUDA kernels on a GPU
	@tools/gpu_check

format:  ## clang-format all sources in place
	@git ls-files '*.h' '*.cpp' '*.cu' | xargs clang-format -i

lint:  ## clang-format check, include arrows, clang-tidy of changed files
	@tools/setup build test gui
	@tools/lint

install:  ## install program, data and the library with find_package(orrery) under PREFIX (default /usr/local)
	@tools/setup build
	@tools/build release
	@cmake --install build/release --prefix $(PREFIX)

clean:  ## remove build/
	rm -rf build
