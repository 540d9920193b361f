// Documents about environments: what the database keeps of them, pylock.toml, pyproject.toml.
#include "envs/lock.hpp"
#include "envs/pylock.hpp"
#include "envs/specification.hpp"
#include "envs/specification_files.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchDirectory scratch;
  fuzz::Input input(data, size);
  switch (input.choose(4)) {
    case 0:
      fuzz::require_stable(input.rest(), envs::specification_from_json, [](const envs::Specification& specification) {
        envs::identity_text(specification, {.platform = "linux-x86_64", .base = {}});
        return envs::to_json(specification);
      });
      break;
    case 1:
      fuzz::require_stable(input.rest(), envs::lock_from_json, [](const envs::Lock& lock) {
        envs::difference(lock, {});
        return envs::to_json(lock);
      });
      break;
    case 2:
      fuzz::require_stable(
          input.rest(), [](std::string_view text) { return envs::read_pylock(text, "/nonexistent"); },
          envs::write_pylock);
      break;
    default: {
      const auto file = scratch.write("pyproject.toml", input.rest());
      fuzz::accepts([&] { envs::read_pyproject(file); });
    }
  }
  return 0;
}
