#include <nlohmann/json.hpp>

#include "runner/cli/change.hpp"
#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"

namespace runner::cli {

namespace {

int stop(Session& session, const CancelOptions& options, const char* action) {
  Json body{{"recursive", options.recursive}};
  if (options.reason) body["reason"] = *options.reason;
  return change_runs(session, options.runs, action, dump_document(body));
}

}  // namespace

int run(Session& session, const CancelOptions& options) { return stop(session, options, "cancel"); }

int run(Session& session, const FailOptions& options) { return stop(session, options, "fail"); }

}  // namespace runner::cli
