// run restore: a run's snapshot as real files.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/submission.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

int run(Session& session, const RestoreOptions& options) {
  Json body = Json::object();
  body["directory"] = absolute_directory(std::filesystem::current_path(), options.directory);
  const std::string answer = session.post(run_target(options.run, "/restore"), dump_document(body));
  if (session.json()) {
    print(answer + "\n");
    return 0;
  }
  const std::string count = scalar_text(member(parse_document(answer), "files"));
  print("restored " + count + (count == "1" ? " file" : " files") + " to " + printable(options.directory) + "\n");
  return 0;
}

}  // namespace runner::cli
