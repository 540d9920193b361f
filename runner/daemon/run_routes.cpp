#include "runner/daemon/run_routes.hpp"

#include <algorithm>

#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/run_handlers.hpp"

namespace runner::daemon {

ServerLimits RunRoutes::limits() {
  return {.connections = 64, .waiting = 48, .large_bodies = 4, .body_bytes = 16 << 20};
}

std::optional<std::string> RunRoutes::owner_of(std::string_view authorization) const {
  constexpr std::string_view kScheme = "bearer ";  // of any letter case (RFC 9110, 11.1)
  const std::string_view scheme = authorization.substr(0, kScheme.size());
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  if (!std::equal(scheme.begin(), scheme.end(), kScheme.begin(), kScheme.end(),
                  [&](char given, char wanted) { return lower(given) == wanted; }))
    return std::nullopt;
  const auto owner = pipeline_.tokens().owner_of(authorization.substr(kScheme.size()));
  if (!owner) return std::nullopt;
  try {
    const RunRecord run = pipeline_.history().get(owner->run);
    if (is_final(run.status) || run.attempt != owner->attempt) return std::nullopt;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return std::nullopt;  // deleted
  }
  return owner->run;
}

std::string RunRoutes::run_in_reach(const std::string& name, const std::string& asker) const {
  if (name == "." || name == asker) return asker;
  std::vector<std::string> lineage;
  try {
    lineage = pipeline_.history().lineage(name);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
  }
  // The same words for a run that is another's and for one that does not exist.
  if (std::find(lineage.begin(), lineage.end(), asker) == lineage.end())
    throw Error(ErrorCode::kNotFound, "no run '" + name + "' here",
                "a script asks about its own run and those below it, by their whole ids");
  return name;
}

void RunRoutes::handle(const http::Request& request, Exchange& exchange) const {
  refuse_bombs(request.body);
  bool wrong_method = false;
  const RunRoute* const route = find_run_route(request, wrong_method);
  if (route == nullptr) {
    if (wrong_method) return exchange.respond(method_not_allowed(request.method));
    throw Error(ErrorCode::kNotFound, "no such route",
                "a script asks about its own run and those below it: /v1/runs/ID");
  }
  const std::string& asker = exchange.owner();
  const std::string run = run_in_reach(request.path[2], asker);
  try {
    pipeline_.take_in_journal(asker);
    if (run != asker) pipeline_.take_in_journal(run);
  } catch (const Error& error) {
    // Nothing was done, so the same may be asked again, whatever it is.
    if (error.code() == ErrorCode::kUnavailable) exchange.close_afterwards();
    throw;
  }
  route->handler({.pipeline = pipeline_, .run = run, .asker = asker, .request = request, .exchange = exchange});
}

std::vector<std::string> RunRoutes::names() {
  std::vector<std::string> names;
  for (const RunRoute& route : run_routes())
    names.push_back(std::string(route.method) + " /v1/runs/{run}" + std::string(route.rest));
  return names;
}

}  // namespace runner::daemon
