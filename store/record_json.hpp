// The JSON columns of runner.db: what no query filters on. Keys may be added; a reader ignores what it does not know
// and takes the field's default for what is absent. Text that is not UTF-8 is Error(kInvalid), a damaged column
// Error(kInternal).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "runner/core/run.hpp"

namespace runner::store {

std::string to_json(const RunDefinition& definition);
std::string to_json(const GitState& git);
std::string to_json(const EnvironmentRef& environment);
std::string to_json(const Outcome& outcome);
std::string to_json(const RunError& error);
std::string to_json(const std::map<std::string, std::string>& variables);
std::string to_json(const std::vector<std::string>& names);

RunDefinition definition_from_json(std::string_view text);
GitState git_from_json(std::string_view text);
EnvironmentRef environment_from_json(std::string_view text);
Outcome outcome_from_json(std::string_view text);
RunError error_from_json(std::string_view text);
std::map<std::string, std::string> variables_from_json(std::string_view text);
std::vector<std::string> names_from_json(std::string_view text);

}  // namespace runner::store
