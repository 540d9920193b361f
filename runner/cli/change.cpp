#include "runner/cli/change.hpp"

#include <nlohmann/json.hpp>
#include <optional>

#include "runner/cli/document.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

int change_runs(Session& session, const std::vector<std::string>& runs, std::string_view action,
                std::string_view body) {
  const std::string rest = "/" + std::string(action);
  Json items = Json::array();
  std::optional<Error> failure;
  for (const std::string& name : runs) {
    try {
      const Json run = parse_document(session.post(run_target(name, rest), body));
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
    print(json_text(dump_document(runs.size() == 1 ? items[0] : Json{{"items", items}, {"nextToken", nullptr}})));
  if (failure) throw *failure;
  return 0;
}

}  // namespace runner::cli
