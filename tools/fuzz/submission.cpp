// Requests of the API, and the small grammars in them: docker's words, images, durations, sizes, times.
#include <string>
#include <vector>

#include "runner/api/docker_arguments.hpp"
#include "runner/api/docker_values.hpp"
#include "runner/api/environment_document.hpp"
#include "runner/api/image_reference.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/content.hpp"
#include "runner/core/nearest.hpp"
#include "runner/core/run.hpp"
#include "runner/core/time.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

// The canonical form of a request means what the request meant.
void read_submission(std::string_view json) {
  fuzz::require_stable(json, api::parse_submission,
                       [](const api::Submission& submission) { return submission.canonical; });
}

// What differs from another run's submission: a repetition, and what a script submits.
void read_changes(std::string_view json) {
  fuzz::accepts([&] { api::parse_overrides(json); });
  fuzz::accepts([&] {
    const auto submission = api::parse_child_submission(json);
    const std::string& tree = submission.source_tree;
    fuzz::require(!tree.empty() && tree != ".." && tree.find('/') == std::string::npos, "a tree is a single name",
                  tree);
    fuzz::require(submission.source_directory.empty() && !submission.python && submission.secrets.empty(),
                  "a script names nothing of the machine", std::string(json));
  });
}

void read_docker_words(fuzz::Input input) {
  std::vector<std::string> words;
  while (!input.empty()) words.emplace_back(input.take_until('\n'));
  fuzz::accepts([&] {
    for (const std::string& mount : api::parse_docker_arguments(words, "x.runconfig:1: docker.arguments").mounts)
      fuzz::require(mount.ends_with(":ro") || mount.ends_with(":rw"), "a mount says how", mount);
  });
}

void read_values(const std::string& text) {
  const std::string what = "--x";
  fuzz::accepts([&] { api::parse_ulimit(text, what); });
  fuzz::accepts([&] { api::parse_cpuset(text, what); });
  fuzz::accepts([&] { api::parse_extra_host(text, what); });
  fuzz::accepts([&] { api::parse_address(text, what); });
  fuzz::accepts([&] { api::parse_hostname(text, what); });
  fuzz::accepts([&] { api::parse_tmpfs(text, what); });
  fuzz::accepts([&] { api::parse_gpus(text, what); });
  fuzz::accepts([&] { fuzz::require(api::parse_cpus(text, what) > 0, "CPUs are more than none", text); });
  fuzz::accepts([&] {
    const std::int64_t value = api::parse_integer(text, what, -5, 7);
    fuzz::require(value >= -5 && value <= 7, "an integer is within its bounds", text);
  });
  fuzz::accepts([&] { api::parse_volume(text, what); });
  fuzz::accepts([&] { api::parse_mount_option(text, what); });
}

void read_words(const std::string& text) {
  fuzz::accepts([&] { api::check_image_reference(text, "--image"); });
  fuzz::accepts([&] { api::check_environment_name(text); });
  fuzz::accepts([&] {
    const auto duration = parse_duration(text, "--x");
    fuzz::require(duration.count() >= 0, "a duration is not negative", text);
    format_duration(duration);
  });
  fuzz::accepts([&] {
    const std::int64_t bytes = parse_size(text, "--x");
    fuzz::require(bytes >= 0, "a size is not negative", text);
    format_size(bytes);
  });
  if (const auto time = utc_from_iso8601(text))
    fuzz::require(utc_from_iso8601(to_iso8601(*time)) == time, "a time survives", text, to_iso8601(*time));
  if (const auto hash = Hash::from_hex(text))
    fuzz::require(Hash::from_hex(hash->hex()) == hash, "a hash survives", text);
  run_status_from(text);
  outcome_kind_from(text);
  constexpr std::string_view kWords[] = {"submit", "list", "show"};
  nearest(text, kWords);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(6)) {
    case 0:
      read_submission(input.rest());
      break;
    case 1:
      read_changes(input.rest());
      break;
    case 2:
      fuzz::accepts([&] { api::parse_registration(input.rest()); });
      break;
    case 3:
      read_docker_words(input);
      break;
    case 4:
      read_values(std::string(input.rest()));
      break;
    default:
      read_words(std::string(input.rest()));
  }
  return 0;
}
