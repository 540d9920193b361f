// Options of `docker run` that a run does not take, each with the reason and the way out; and those of `docker build`.
// Tables only; docker_arguments.cpp reads them.
#pragma once

#include <span>
#include <string_view>

namespace runner::api {

struct RefusedOption {
  std::string_view name;  // without the dashes
  char letter = 0;        // its short form, or 0
  std::string_view why;
  std::string_view way_out;
};

// By long name or by letter (never 0). Nothing: not an option of `docker run`, or taken.
const RefusedOption* find_refused(std::string_view name);
const RefusedOption* find_refused(char letter);

// Every refused long name, for "did you mean".
std::span<const RefusedOption> refused_options();

bool is_build_option(std::string_view name);  // long names that only `docker build` has

}  // namespace runner::api
