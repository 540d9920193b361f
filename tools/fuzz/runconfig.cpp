// Runconfigs: YAML or JSON of other people's making.
#include "runner/api/runconfig.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Input input(data, size);
  fuzz::accepts([&] { api::parse_runconfig(input.rest(), "x.runconfig", "/nonexistent"); });
  return 0;
}
