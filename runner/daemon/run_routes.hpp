// The run socket's side of the API: what the script of a run may ask, and of which runs. Any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/daemon/http_server.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

class RunRoutes {
 public:
  explicit RunRoutes(pipeline::Pipeline& pipeline) : pipeline_(pipeline) {}

  // The run whose token "Bearer TOKEN" is: of its present attempt, before it has ended. For ServerAccess.
  std::optional<std::string> owner_of(std::string_view authorization) const;

  // Of the run that asks (`.` is short for it) and those below it; any other is Error(kNotFound), whether it exists or
  // not. What the journals of both hold when it begins is taken in before it answers.
  void handle(const http::Request& request, Exchange& exchange) const;

  // "GET /v1/runs/{run}" for every route; the OpenAPI file marks these with "x-run-socket".
  static std::vector<std::string> names();

  static ServerLimits limits();

 private:
  std::string run_in_reach(const std::string& name, const std::string& asker) const;

  pipeline::Pipeline& pipeline_;
};

}  // namespace runner::daemon
