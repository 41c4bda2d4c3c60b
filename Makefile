# SPDX-License-Identifier: Apache-2.0
# A thin front for Meson: the two commands that a newcomer needs are `sudo make quickstart` and `sudo make check`.
PREFIX ?= /usr/local
BUILD ?= build

.PHONY: all check check-v2 quickstart install uninstall bench fuzz format check-format lint clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	scripts/deps build
	meson setup $(BUILD) --prefix=$(PREFIX)

check:
	scripts/deps build check
	scripts/check

# pure cgroup v2 and Debian's kernel, in an emulated machine: minutes, so not part of check
check-v2: all
	scripts/deps build check vm
	CAISSON_BUILD=$(BUILD) scripts/vm-test

quickstart:
	scripts/quickstart

install: $(BUILD)/build.ninja
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	ninja -C $(BUILD)
	meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

uninstall: $(BUILD)/build.ninja
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	scripts/uninstall $(BUILD) $(abspath $(DESTDIR))

bench: all
	scripts/deps build check bench
	/usr/bin/python3 tests/bench/bench.py --idle 500 --images $(BUILD)/bench-data

FUZZ_SECONDS ?= 60
fuzz:
	scripts/deps build fuzz
	[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=true -Dmusl=false -Dtests=true -Db_sanitize=address,undefined -Db_lundef=false
	ninja -C build-fuzz fuzzers
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz build-fuzz

C_FILES = $$(git ls-files 'src/*.c' 'src/*.h' 'include/*.h' 'tests/*.c' 'tests/*.h')
format:
	scripts/deps lint
	clang-format -i $(C_FILES)

check-format:
	scripts/deps lint
	clang-format --dry-run --Werror $(C_FILES)

# on a build of clang's: gcc's command lines name specs that clang-tidy knows nothing of
lint:
	scripts/deps build check fuzz lint
	scripts/check-layers
	scripts/check-paths
	scripts/check-portable
	scripts/check-style
	[ -f build-clang/build.ninja ] || CC=clang meson setup build-clang
	ninja -C build-clang
	scripts/tidy build-clang

clean:
	rm -rf $(BUILD) build-asan build-clang build-fuzz build-tsan
