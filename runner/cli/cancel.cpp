#include <nlohmann/json.hpp>

#include "runner/cli/change.hpp"
#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"

namespace runner::cli {

int run(Session& session, const CancelOptions& options) {
  Json body = Json::object();
  if (options.reason) body["reason"] = *options.reason;
  return change_runs(session, options.runs, "cancel", dump_document(body));
}

}  // namespace runner::cli
