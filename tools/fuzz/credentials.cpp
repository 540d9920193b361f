// Credentials: what of a URL is one, and whether a build's log keeps them to itself.
#include <string>
#include <vector>

#include "envs/build_console.hpp"
#include "envs/credentials.hpp"
#include "git/git_state.hpp"
#include "runner/os/clock.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

const std::string kSecret = "s3cr3t-Zw9";

void strip(const std::string& url) {
  const auto stripped = envs::without_credentials(url);
  fuzz::require(envs::without_credentials(stripped.url).url == stripped.url, "what is stripped stays so", url,
                stripped.url);
  const std::string text = envs::without_credentials_in(url);
  fuzz::require(envs::without_credentials_in(text) == text, "a text that is stripped stays so", url, text);
  std::vector<std::string> secrets;
  envs::add_secrets(secrets, envs::secrets_in(url));
  envs::is_called_secret(url);
  const std::string remote = git::strip_credentials(url);
  fuzz::require(git::strip_credentials(remote) == remote, "a remote that is stripped stays so", url, remote);
}

// A password between what may surround it is nowhere afterwards.
void hide(std::string_view before, std::string_view behind) {
  for (const char character : before)
    if (std::string_view("/?#@[]\\ \t\r\n\v\f\"'<>{}`,;|()$").find(character) != std::string_view::npos) return;
  const std::string url = "https://user" + std::string(before) + ":" + kSecret + "@host/" + std::string(behind);
  const std::string remote = git::strip_credentials(url);
  if (std::string_view(behind).find(kSecret) == std::string_view::npos)
    fuzz::require(remote.find(kSecret) == std::string::npos, "git: a password is stripped", url, remote);
  const auto stripped = envs::without_credentials(url);
  if (std::string_view(behind).find(kSecret) == std::string_view::npos)
    fuzz::require(stripped.url.find(kSecret) == std::string::npos, "envs: a password is stripped", url, stripped.url);
}

void log(std::string_view text) {
  static const fuzz::ScratchDirectory scratch;
  const auto file = scratch.write("log", "");
  envs::BuildConsole console({.log = file,
                              .scratch = scratch.path(),
                              .guard = "/nonexistent",
                              .secrets = {kSecret},
                              .stopped = {},
                              .progress = [](const std::string&) {},
                              .deadline = os::monotonic_now() + std::chrono::hours(1)});
  console.step(std::string(text.substr(0, 100)));
  console.progress(std::string(text));
  console.write(text);
  const Error failure = console.failure("tool", 1);
  const std::string logged = os::read_file(file);
  for (const std::string& said : {logged, std::string(failure.what())}) {
    fuzz::require(said.find(kSecret) == std::string::npos, "a secret is in no log and no error", text, said);
    for (const char character : said)
      fuzz::require(character == '\n' || character == '\t' || static_cast<unsigned char>(character) >= 0x20,
                    "no control character is in a log", text, said);
  }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(3)) {
    case 0:
      strip(std::string(input.rest()));
      break;
    case 1: {
      const std::string_view before = input.take_until('\n');
      hide(before, input.rest());
      break;
    }
    default:
      log(input.rest());
  }
  return 0;
}
