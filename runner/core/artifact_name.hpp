// Whose names artifacts have: a run's, or ours.
#pragma once

#include <string_view>

namespace runner {

// Below user_logs/, system_logs/, git/ and attempts/ they are ours: no script hands over a file of such a name.
inline bool is_own_artifact_name(std::string_view name) {
  const std::string_view first = name.substr(0, name.find('/'));
  return first == "user_logs" || first == "system_logs" || first == "git" || first == "attempts";
}

}  // namespace runner
