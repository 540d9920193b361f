// What a run was told: the parameters in the arguments of its definition. Pure; any thread.
//   --lr 0.1   --lr=0.1   -l 0.1   lr=0.1   +lr=0.1        lr (l): 0.1
//   --augment  (and then an option, or nothing)            augment: true
// Dashes in front are no part of a name, those within are. A word that follows an option without "=" is its value
// unless it is an option itself; "-1" and "-.5" are values. Said twice, the last counts, as argparse has it. Of
// `command` only long options and NAME=VALUE count, behind the program. What follows "--" is no option. Names or values
// of more than kMaxParameter bytes, and all but the first kMaxParameters names, are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::store {

inline constexpr std::size_t kMaxParameter = 1024;  // bytes
inline constexpr std::size_t kMaxParameters = 1000;

using Number = std::variant<std::int64_t, double>;
// Of the whole text: "3", "-0.5", "1e-4", "inf". Not "nan", which is neither less nor more than anything.
std::optional<Number> number_of(std::string_view text);

struct Parameter {
  std::string key;
  std::string value;
  std::optional<Number> number{};  // where the value is one
  bool operator==(const Parameter&) const = default;
};

std::vector<Parameter> parameters_of(const RunDefinition& definition);  // by key, each once

}  // namespace runner::store
