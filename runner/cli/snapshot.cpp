// Snapshots without a run.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/submission.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

int run(Session& session, const SnapshotCreateOptions& options) {
  Json body = Json::object();
  body["sourceDirectory"] = absolute_directory(std::filesystem::current_path(), options.directory);
  const std::string answer = session.post("/v1/snapshots", dump_document(body));
  if (session.json()) {
    print(answer + "\n");
    return 0;
  }
  const Json document = parse_document(answer);
  for (const Json& warning : member(document, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  print(text_at(document, "snapshotId") + "\n");
  return 0;
}

}  // namespace runner::cli
