// runner-engine CONTAINER_JSON [ID]: what an OCI runtime is to a sandboxed run, this is to a run in an image: the shim
// starts it, it makes the container through the Docker Engine and stays until the container has ended. A program of its
// own because libcurl does not belong into the supervisor, and because an Engine that hangs must not hang the
// supervisor. Standard input: the shim (runner/shim/engine_protocol.hpp). Exit status: 0, or 1 with one line on
// standard error.
#include <malloc.h>

#include <cstdio>
#include <exception>

#include "tools/runner-engine/container_life.hpp"

int main(int argc, char* argv[]) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: runner-engine CONTAINER_JSON [ID]\n");
    return 2;
  }
  ::mallopt(M_ARENA_MAX, 1);  // one thread, as small as can be: it lives as long as the run
  try {
    runner::ContainerLife(runner::read_order(argv[1]), runner::os::Fd(0), argc == 3 ? argv[2] : "").run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
