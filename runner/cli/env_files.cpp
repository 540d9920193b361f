// env scaffold and env download: an environment as files of the user's.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "runner/api/environment_directory.hpp"
#include "runner/api/environment_document.hpp"
#include "runner/cli/commands.hpp"
#include "runner/cli/download.hpp"
#include "runner/cli/env.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

namespace fs = std::filesystem;

// All of them or, when one is there already, none.
int write_files(Session& session, const std::string& name, const api::EnvironmentDirectory& made,
                const fs::path& directory) {
  for (const auto& [file, content] : made.files)
    if (::faccessat(AT_FDCWD, (directory / file).c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      throw Error(ErrorCode::kConflict, "file " + (directory / file).string() + ": is there already",
                  "name another directory with -d DIR, or remove it");
  for (const std::string& warning : made.warnings) print_error("runner: warning: " + printable(warning) + "\n");
  Json items = Json::array();
  for (const auto& [file, content] : made.files) {
    const fs::path target = directory / file;
    DownloadedFile writing(target);
    writing.write(content);
    writing.publish();
    items.push_back({{"name", file}, {"path", fs::absolute(target).lexically_normal().string()}});
    if (!session.json()) print(printable(target.lexically_normal().string()) + "\n");
  }
  if (session.json())
    print(json_text(dump_document({{"environment", name}, {"items", items}, {"nextToken", nullptr}})));
  return 0;
}

}  // namespace

int run(Session& session, const EnvScaffoldOptions& options) {
  api::check_environment_name(options.name);
  return write_files(session, options.name, api::scaffold_directory(options.name), options.directory);
}

int run(Session& session, const EnvDownloadOptions& options) {
  const std::string name = versioned(options.name, options.version);
  const Json environment = parse_document(session.get(environment_target(name)));
  // Of a digest there is no name: its files get one that can be registered.
  const std::string own = text_at(environment, "name").empty() ? "environment" : text_at(environment, "name");
  return write_files(
      session, name,
      api::directory_of(own, text_at(environment, "version"), dump_document(member(environment, "definition"))),
      options.directory);
}

}  // namespace runner::cli
