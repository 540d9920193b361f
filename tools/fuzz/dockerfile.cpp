// Dockerfiles and .dockerignore files.
#include <map>
#include <string>

#include "envs/build_context.hpp"
#include "envs/docker_ignore.hpp"
#include "envs/dockerfile_text.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

const std::map<std::string, std::string> kVariables{{"V", "13"}, {"EMPTY", ""}};

void read_dockerfile(const std::string& text) {
  const envs::DockerfileText dockerfile = envs::parse_dockerfile(text);
  int last = 0;
  for (const envs::DockerfileInstruction& instruction : dockerfile.instructions) {
    fuzz::require(instruction.line > last, "instructions are in the order of their lines", text);
    last = instruction.line;
    envs::expand_dockerfile_word(instruction.rest, kVariables, dockerfile.escape);
    const int line = envs::line_of_step(dockerfile, 0, 1, instruction.keyword + " " + instruction.rest);
    fuzz::require(line >= 0, "a line is none or a number");
  }
  fuzz::accepts([&] { envs::needs_context(text); });
  fuzz::accepts([&] { envs::base_images(text, kVariables); });
}

// Asked for a path at once and on the way down: the same.
void read_ignore(std::string_view rules_text, std::string_view path) {
  fuzz::accepts([&] {
    const envs::DockerIgnore rules(rules_text, ".dockerignore");
    envs::DockerIgnore::Verdict verdict;
    for (std::size_t end = 0; end < path.size();) {
      end = std::min(path.find('/', end + 1), path.size());
      verdict = rules.look_at(path.substr(0, end), verdict.matched);
    }
    fuzz::require(path.empty() || verdict.ignored == rules.ignores(path), "both ways agree", rules_text, path);
    rules.may_return_below(path);
  });
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  if (input.choose(2) == 0) {
    read_dockerfile(std::string(input.rest()));
  } else {
    const std::string_view path = input.take_until('\n');
    if (path.empty() || path.front() != '/') read_ignore(input.rest(), path);
  }
  return 0;
}
