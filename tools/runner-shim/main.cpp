// runner-shim RUN_DIRECTORY: starts, watches and records one run (runner/shim/supervise.hpp).
#include <cstdio>
#include <exception>

#include "runner/shim/supervise.hpp"

int main(int argc, char* argv[]) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: runner-shim RUN_DIRECTORY\n");
    return 2;
  }
  try {
    return runner::shim::supervise(runner::os::RunDirectory(argv[1]));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "runner-shim: error: %s\n", error.what());
    return 125;
  }
}
