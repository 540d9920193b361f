# Where and how to build. Sourced by tools/quickstart and tools/test; wants `root`, the source tree.
# shellcheck shell=bash

# Outside the source tree, one per source tree.
build_root() {
  local name
  name=$(printf '%s' "${root:?}" | sha256sum | cut -c 1-12)
  printf '%s\n' "${RUNNER_BUILD_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/runner-build/$name}"
}

# Warnings are errors in CI and with the compiler CI uses; elsewhere a new compiler's warning must not stop a newcomer. (Not
# different between the two scripts: that would build everything twice.)
warnings_are_errors() {
  if [ "${RUNNER_STRICT:-}" = 1 ] || [ "$(c++ -dumpversion)" = 12 ]; then echo ON; else echo OFF; fi
}

# configure_and_build TITLE DIRECTORY TARGETS -- CMAKE_OPTIONS...
configure_and_build() {
  local title=$1 directory=$2 targets=()
  shift 2
  while [ "$1" != -- ]; do
    targets+=("$1")
    shift
  done
  shift
  step "Configuring ($title)" "$directory.configure.log" cmake -S "$root" -B "$directory" -G Ninja "$@"
  step "Building ($title)" "$directory.build.log" cmake --build "$directory" --target "${targets[@]}"
}

# Whether clang++ is here with the library that makes a fuzzer of it.
fuzz_compiler_works() {
  command -v clang++ >/dev/null || return 1
  printf '%s\n' '#include <cstddef>' 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, std::size_t) { return 0; }' |
    clang++ -fsanitize=fuzzer,address -x c++ -o /dev/null - >/dev/null 2>&1
}

# sanitized_build NAME DIRECTORY TARGETS...: NAME is asan or tsan. With clang++ where it is here: it takes two thirds of g++'s time, and
# makes the fuzz targets in the same tree. -O1 because the suites are long. Warnings are no errors here: the sanitizers make g++ 12
# see uninitialised variables in its own <regex>.
sanitized_build() {
  local name=$1 directory=$2 options=(-DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DRUNNER_UNITY=ON)
  shift 2
  case $name in
    asan) options+=("-DRUNNER_SANITIZE=address,undefined") ;;
    tsan) options+=(-DRUNNER_SANITIZE=thread) ;;
  esac
  if fuzz_compiler_works; then
    # CMake forgets every option when the compiler of a tree changes.
    if ! grep -qs '^CMAKE_CXX_COMPILER:.*clang' "$directory/CMakeCache.txt"; then
      options+=(--fresh "-DCMAKE_CXX_COMPILER=$(command -v clang++)")
    fi
    if [ "$name" = asan ]; then options+=(-DRUNNER_FUZZ=ON); fi
  fi
  configure_and_build "$name" "$directory" "$@" -- "${options[@]}"
}
