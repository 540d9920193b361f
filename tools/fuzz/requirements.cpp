// What pip users write: requirements files, single requirements, names of artefacts, versions.
#include <string>

#include "envs/artefact_name.hpp"
#include "envs/pip_files.hpp"
#include "envs/python_version.hpp"
#include "envs/requirements_text.hpp"
#include "envs/specification_files.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

constexpr const char* kNowhere = "/nonexistent";

void require_stable_normal_form(std::string_view text, std::string (*normalise)(std::string_view)) {
  fuzz::require_stable(
      text, [](std::string_view read) { return std::string(read); },
      [&](const std::string& read) { return normalise(read); });
}

// The canonical requirements are requirements, and canonical.
void read_file(std::string_view text) {
  envs::Specification first;
  if (!fuzz::accepts([&] { first = envs::parse_requirements(text, "r.txt", kNowhere).specification; })) return;
  std::string canonical;
  for (const std::string& requirement : first.pip) canonical += requirement + "\n";
  envs::Specification second;
  fuzz::require(fuzz::accepts([&] { second = envs::parse_requirements(canonical, "r.txt", kNowhere).specification; }),
                "canonical requirements are read", text, canonical);
  fuzz::require(first.pip == second.pip, "canonical requirements are canonical", text, canonical);
}

void read_artefact(std::string_view text) {
  if (const auto name = envs::artefact_name(text)) envs::expanded_tags(name->tags);
  envs::is_archive(text);
  envs::file_name_of(text);
  envs::path_of_file_url(text);
  const std::string path = "/" + std::string(text);
  fuzz::require(envs::path_of_file_url(envs::file_url(path)) == path, "a path survives its URL", path,
                envs::file_url(path));
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(6)) {
    case 0:
      read_file(input.rest());
      break;
    case 1:
      require_stable_normal_form(input.rest(), envs::normalised_requirement);
      break;
    case 2:
      fuzz::accepts([&] {
        for (const auto& line : envs::requirements_lines(input.rest(), "r.txt", 1)) envs::shell_words(line.text);
      });
      break;
    case 3: {
      const std::string version(input.take_until('\n'));
      fuzz::accepts([&] { envs::python_satisfies(version, input.rest()); });
      break;
    }
    case 4:
      read_artefact(input.rest());
      break;
    default:
      envs::pip_option(input.rest());
      envs::name_of_requirement(input.rest());
      envs::url_of_requirement(input.rest());
      envs::normalised_name(input.rest());
  }
  return 0;
}
