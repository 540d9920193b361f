// run restore, snapshot restore: a snapshot as real files.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/sign_of_life.hpp"
#include "runner/cli/submission.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

int restore(Session& session, const std::string& target, const std::string& directory) {
  Json body = Json::object();
  body["directory"] = absolute_directory(std::filesystem::current_path(), directory);
  const std::string answer = [&] {
    const SignOfLife sign("runner: writing " + printable(directory) + " …\n");
    return session.post(target, dump_document(body));
  }();
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const std::string count = scalar_text(member(parse_document(answer), "files"));
  print("restored " + count + (count == "1" ? " file" : " files") + " to " + printable(directory) + "\n");
  return 0;
}

}  // namespace

int run(Session& session, const RestoreOptions& options) {
  return restore(session, run_target(options.run, "/restore"), options.directory);
}

int run(Session& session, const SnapshotRestoreOptions& options) {
  return restore(session, snapshot_target(options.snapshot, "/restore"), options.directory);
}

}  // namespace runner::cli
