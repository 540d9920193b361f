// What commands over several runs share: every run is tried. cancel, pause and resume: a request a run, its new status
// a line.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/cli/session.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {

// What went wrong with some of them. The first one is thrown at the end and so decides about the exit code; the others
// are reported when they come.
class Failures {
 public:
  explicit Failures(bool json) : json_(json) {}
  void add(const Error& error);
  void throw_first() const;  // if there is one

 private:
  bool json_;
  std::optional<Error> first_;
};

// POSTs `body` to /v1/runs/RUN/ACTION for each run. Throws the first failure at the end. Returns 0.
int change_runs(Session& session, const std::vector<std::string>& runs, std::string_view action, std::string_view body);

}  // namespace runner::cli
