#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

// Every run is tried; the first failure decides about the exit code, and all of them are reported.
int run(Session& session, const CancelOptions& options) {
  Json body = Json::object();
  if (options.reason) body["reason"] = *options.reason;
  Json items = Json::array();
  std::optional<Error> failure;
  for (const std::string& name : options.runs) {
    try {
      const Json run = parse_document(session.post(run_target(name, "/cancel"), dump_document(body)));
      if (!session.json()) print(printable(text_at(run, "runId") + " " + text_at(run, "status")) + "\n");
      items.push_back(run);
    } catch (const http::ConnectionLost&) {
      throw;
    } catch (const Error& error) {
      if (failure) report(*failure, session.json());
      failure = failure ? failure : error;
    }
  }
  if (session.json() && !items.empty())
    print(dump_document(options.runs.size() == 1 ? items[0] : Json{{"items", items}, {"nextToken", nullptr}}) + "\n");
  if (failure) throw *failure;
  return 0;
}

}  // namespace runner::cli
