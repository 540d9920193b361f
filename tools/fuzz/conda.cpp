// What conda users write: environment files, match specs, channels with their credentials.
#include <string>

#include "envs/conda_channel.hpp"
#include "envs/specification_files.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

void read_channel(const std::string& url) {
  const auto stripped = envs::without_channel_credentials(url);
  fuzz::require(envs::without_channel_credentials(stripped.url).url == stripped.url, "what is stripped stays so", url,
                stripped.url);
  envs::channel_secrets(url);
  envs::effective_channels({url, "nodefaults"});
  envs::with_credentials(url, {{"https://host/", "https://user:secret@host/"}});
  fuzz::accepts([&] { envs::with_variables(url, {{"A", "a"}}); });
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(4)) {
    case 0:
      fuzz::accepts([&] { envs::parse_conda(input.rest(), "environment.yml", "/nonexistent"); });
      break;
    case 1:
      fuzz::require_stable(
          input.rest(), [](std::string_view read) { return std::string(read); },
          [](const std::string& read) { return envs::normalised_match_spec(read); });
      break;
    case 2:
      read_channel(std::string(input.rest()));
      break;
    default:
      envs::without_spec_credentials(input.rest());
      fuzz::require(envs::with_changed_urls(input.rest(), [](const std::string& url) { return url; }) == input.rest(),
                    "no change changes nothing", input.rest());
  }
  return 0;
}
