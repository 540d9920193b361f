#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/summary.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

// One after the other: all must end anyway, and the order of the arguments decides about the exit code.
int run(Session& session, const WaitOptions& options) {
  int result = 0;
  Json items = Json::array();
  for (const std::string& name : options.runs) {
    const Json run = parse_document(session.get_patiently(run_target(name, "/wait")));
    if (result == 0) result = exit_code_of_run(run);
    if (session.json())
      items.push_back(run);
    else
      print(summary_of(run, Stream::kOut));
  }
  if (session.json())
    print(json_text(dump_document(items.size() == 1 ? items[0] : Json{{"items", items}, {"nextToken", nullptr}})));
  return result;
}

}  // namespace runner::cli
