// What a user types and configures: the words of a command, config.toml, secrets.toml.
#include <sys/stat.h>

#include <string>
#include <vector>

#include "runner/cli/invocation.hpp"
#include "runner/pipeline/configuration.hpp"
#include "runner/pipeline/secrets.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

void read_words(fuzz::Input input) {
  std::vector<std::string> words;
  while (!input.empty()) words.emplace_back(input.take_until('\n'));
  cli::GlobalOptions global;
  fuzz::accepts([&] { cli::parse_invocation(words, global); });
}

void read_secrets(const std::filesystem::path& file) {
  ::chmod(file.c_str(), 0600);
  fuzz::accepts([&] {
    for (const auto& [name, value] : pipeline::find_secrets({"TOKEN"}, {}, file)) {
      fuzz::require(name == "TOKEN", "only what was asked for");
      fuzz::require(value.size() <= pipeline::kMostSecretBytes, "a value is not too long");
    }
  });
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchDirectory scratch;
  fuzz::Input input(data, size);
  switch (input.choose(3)) {
    case 0:
      read_words(input);
      break;
    case 1: {
      const auto file = scratch.write("config.toml", input.rest());
      fuzz::accepts([&] { pipeline::load_configuration(file); });
      break;
    }
    default:
      read_secrets(scratch.write("secrets.toml", input.rest()));
  }
  return 0;
}
