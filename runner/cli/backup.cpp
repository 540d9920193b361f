// `runner backup FILE`: all that is stored, while the daemon runs.
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/line_answer.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {

int run(Session& session, const BackupOptions& options) {
  if (options.file.empty()) throw Error(ErrorCode::kInvalid, "backup: FILE is empty");
  const auto file = (std::filesystem::current_path() / options.file).lexically_normal();
  const Json made = post_for_lines(session, "/v1/backup", {{"path", file.string()}});
  if (session.json()) {
    print(json_text(dump_document(made)));
    return 0;
  }
  const auto bytes = static_cast<std::int64_t>(number_at(made, "bytes").value_or(0));
  print("wrote " + printable(options.file) + " (" + format_size(bytes) + ")\n");
  return 0;
}

}  // namespace runner::cli
