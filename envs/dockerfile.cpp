// An image from a Dockerfile, by the Engine's own builder.
#include <algorithm>
#include <cctype>
#include <utility>

#include "envs/build_context.hpp"
#include "envs/builders.hpp"
#include "envs/credentials.hpp"
#include "envs/dockerfile_text.hpp"
#include "runner/core/error.hpp"
#include "runner/engine/registry_credentials.hpp"

namespace runner::envs {
namespace {

constexpr std::size_t kLongestStep = 120;  // bytes of an instruction in a line for people

// Cut between characters.
std::string shortened(const std::string& text) {
  if (text.size() <= kLongestStep) return text;
  std::size_t end = kLongestStep;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80) --end;
  return text.substr(0, end) + "…";
}

std::string counted(const engine::BuildStep& step) {
  return "step " + std::to_string(step.number) + " of " + std::to_string(step.total) + ": " + shortened(step.text);
}

// Of the builder about itself.
bool is_bookkeeping(std::string_view line) {
  return line.starts_with(" ---> Running in ") || line.starts_with("Removing intermediate container ");
}

// What only BuildKit does, in the words of the classic builder that refuses it.
std::string hint_for(const std::string& words) {
  if (words.find("requires BuildKit") != std::string::npos || words.find("--mount") != std::string::npos)
    return "the Engine's classic builder knows no RUN --mount and no here-documents: write the step without them, or "
           "build "
           "the image yourself and use --image";
  if (words.find("COPY failed") != std::string::npos || words.find("ADD failed") != std::string::npos)
    return "paths are those of the build context; .dockerignore may leave the file out";
  return "";
}

// "Dockerfile:4: step 3 of 5, RUN make: it ended with status 2", and what the command said.
Error explained(const engine::BuildError& error, const BuildRequest& request, const BuildConsole& console) {
  const DockerfileText text = parse_dockerfile(request.specification.dockerfile);
  std::string place =
      request.settings.dockerfile.empty() ? "Dockerfile" : request.settings.dockerfile.filename().string();
  if (error.step)
    if (const int line = line_of_step(text, error.step->stage, error.step->number, error.step->text); line > 0)
      place += ":" + std::to_string(line);
  std::string message = place + ": " + error.message();
  ErrorCode code = error.code();
  if (code == ErrorCode::kInvalid && error.step) {
    const Error said = console.failure("its output", 1);
    if (said.code() == ErrorCode::kNoSpace) code = ErrorCode::kNoSpace;
    if (said.message().find("said nothing") == std::string::npos) message += "; " + said.message();
  }
  return Error(code, console.redacted(message), error.hint().empty() ? hint_for(message) : error.hint());
}

constexpr std::size_t kShortestSecret = 4;  // bytes; hiding less would hide the log

// Of "https://user:password@host", or of "https://token@host".
void add_passwords(std::string_view text, std::vector<std::string>& secrets) {
  constexpr std::string_view kMark = "://";
  for (auto at = text.find(kMark); at != std::string_view::npos; at = text.find(kMark, at)) {
    at += kMark.size();
    const std::string_view rest = text.substr(at, text.find_first_of("/ \t\r\n\"'", at) - at);
    const auto end = rest.rfind('@');
    if (end == std::string_view::npos) continue;
    const std::string_view info = rest.substr(0, end);
    const std::string_view secret = info.substr(info.find(':') + 1);  // all of it without a colon
    if (secret.size() >= kShortestSecret && !secret.starts_with('$')) secrets.emplace_back(secret);
  }
}

}  // namespace

std::vector<std::string> dockerfile_secrets(const Specification& wanted, const BuildSettings& settings) {
  std::vector<std::string> secrets;
  add_passwords(wanted.dockerfile, secrets);
  for (const auto& [name, value] : wanted.build_arguments) {
    add_passwords(value, secrets);
    const auto own = settings.variables.find(name);
    const bool callers = own != settings.variables.end() && own->second == value;
    if (value.size() >= kShortestSecret && (callers || is_called_secret(name))) secrets.push_back(value);
  }
  return secrets;
}

BuildResult build_dockerfile(const BuildRequest& request, engine::Engine& engine, const std::string& tag,
                             BuildConsole& console) {
  const Specification& wanted = request.specification;
  const BuildContext context(wanted.context, wanted.dockerfile, request.settings.dockerfile, request.settings.data);
  engine::RegistryCredentials credentials(request.settings.variables);
  BuildResult result;
  const engine::ImageBuild build{
      .context = context.reader(wanted.context_digest),
      .dockerfile = context.dockerfile_name(),
      .tag = tag,
      .arguments = wanted.build_arguments,
      .fresh = request.settings.fresh,
      .registry_config = credentials.config_for(base_images(wanted.dockerfile, wanted.build_arguments))};
  console.step("building the image" + (wanted.context.empty() ? "" : " from " + wanted.context));
  engine.stop_when([&console] {
    console.check();
    return false;
  });
  std::string pulled;
  const engine::BuildListener listener{.on_line =
                                           [&](std::string_view line) {
                                             if (!is_bookkeeping(line)) console.write(line);
                                           },
                                       .on_step =
                                           [&](const engine::BuildStep& step) {
                                             console.check();
                                             console.step(counted(step));
                                           },
                                       .on_progress =
                                           [&](const std::string& line) {
                                             if (line == pulled) return;
                                             pulled = line;
                                             console.progress("pulling the base image: " + line);
                                           }};
  try {
    result.image = engine.build_image(build, listener);
  } catch (const engine::BuildError& error) {
    result.warnings = credentials.warnings();
    Error why = explained(error, request, console);
    if (why.code() == ErrorCode::kPermission && !result.warnings.empty())
      why = Error(why.code(), why.message(), why.hint() + "; " + result.warnings.front());
    throw Error(why);
  }
  const auto made = engine.inspect_image(result.image);
  if (!made)
    throw Error(ErrorCode::kUnavailable, "the container engine at " + engine.socket().string() +
                                             " says that it built " + result.image + ", and does not have it");
  result.bytes = made->bytes;
  // What is in the image cannot be told from outside of it; its id says which image it was, and is what runs again.
  result.lock.image = result.image;
  return result;
}

}  // namespace runner::envs
