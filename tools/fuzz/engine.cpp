// What a container engine says, what an image holds, and docker's own configuration.
#include <string>

#include "runner/engine/archive.hpp"
#include "runner/engine/build_answer.hpp"
#include "runner/engine/endpoint.hpp"
#include "runner/engine/engine.hpp"
#include "runner/engine/failure.hpp"
#include "runner/engine/pull_progress.hpp"
#include "runner/engine/registry_credentials.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

// Lines end anywhere.
template <class Stream>
void feed(Stream& stream, std::string_view text) {
  stream.feed(text.substr(0, text.size() / 3));
  stream.feed(text.substr(text.size() / 3));
}

void read_build(std::string_view text) {
  std::size_t steps = 0;
  const engine::BuildListener listener{.on_line = [](std::string_view) {},
                                       .on_step =
                                           [&](const engine::BuildStep& step) {
                                             ++steps;
                                             fuzz::require(
                                                 step.number > 0 && step.total >= step.number && step.stage >= 0,
                                                 "a step is one of all", step.text);
                                           },
                                       .on_progress = [](const std::string&) {}};
  engine::BuildAnswer answer(listener);
  feed(answer, text);
  answer.end();
  fuzz::require(answer.step().has_value() == (steps > 0), "the last step is one that was told");
}

void read_login(std::string_view configuration) {
  static const fuzz::ScratchDirectory scratch;
  scratch.write("config.json", configuration);
  engine::RegistryCredentials credentials({{"DOCKER_CONFIG", scratch.path()}, {"PATH", "/nonexistent"}});
  for (const char* image : {"host:5000/a", "debian", "h/x"}) credentials.auth_for(image);
  credentials.config_for({"host:5000/a", "debian"});
  for (const std::string& warning : credentials.warnings())
    for (const std::string& secret : credentials.secrets())
      fuzz::require(secret.size() < 8 || warning.find(secret) == std::string::npos, "a warning tells no secret",
                    warning, secret);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::string text(input.empty() ? "" : input.rest().substr(1));
  switch (input.choose(6)) {
    case 0:
      read_build(text);
      break;
    case 1: {
      engine::PullProgress progress;
      feed(progress, text);
      progress.line();
      break;
    }
    case 2:
      engine::read_archived_path(text);
      break;
    case 3:
      read_login(text);
      break;
    case 4: {
      const http::TransferResult result{
          .kind = http::TransferResult::Kind::kAnswered, .status = 500, .body = text, .thrown = {}};
      fuzz::require(engine::engine_words(result).find('\n') == std::string::npos, "words are on one line", text);
      engine::failure("/nonexistent/docker.sock", result, "ask");
      engine::registry_failure("pull", text, "host", ErrorCode::kUnavailable);
      break;
    }
    default:
      engine::registry_of(text);
      engine::split_reference(text);
      fuzz::accepts([&] { engine::find_engine({{"DOCKER_HOST", text}}); });
  }
  return 0;
}
