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

# sanitized_build NAME DIRECTORY [--whole] TARGETS...: NAME is asan or tsan. Not --whole: without the checks of every pointer that
# AddressSanitizer makes in its own way, a third of the time to build. With clang++ where it is here: it takes two thirds of g++'s time,
# and makes the fuzz targets in the same tree. -O1 because the suites are long. Warnings are no errors here: the sanitizers make
# g++ 12 see uninitialised variables in its own <regex>.
sanitized_build() {
  local name=$1 directory=$2 options=(-DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1 -DRUNNER_UNITY=ON)
  local left_out="null,alignment,object-size"
  shift 2
  if [ "$1" = --whole ]; then
    left_out=
    shift
  fi
  case $name in
    asan) options+=("-DRUNNER_SANITIZE=address,undefined" "-DRUNNER_SANITIZE_NOT=$left_out") ;;
    tsan) options+=(-DRUNNER_SANITIZE=thread) ;;
  esac
  if fuzz_compiler_works; then
    options+=("-DCMAKE_CXX_COMPILER=$(command -v clang++)")
    # CMake forgets every option when the compiler of a tree changes.
    if [ -e "$directory/CMakeCache.txt" ] && ! grep -q '^CMAKE_CXX_COMPILER:.*clang' "$directory/CMakeCache.txt"; then
      rm -rf "$directory"
    fi
    if [ "$name" = asan ]; then options+=(-DRUNNER_FUZZ=ON); fi
  fi
  configure_and_build "$name" "$directory" "$@" -- "${options[@]}"
}
