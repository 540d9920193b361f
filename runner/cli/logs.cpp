#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/follow.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {

int run(Session& session, const LogsOptions& options) {
  const std::string file = options.file.value_or("");
  if (options.follow && !session.json()) {
    if (file.empty() && options.offset == 0) follow_progress(session, options.run);  // until there is a log
    follow_log(session, {.run = options.run, .file = file, .offset = options.offset, .output = STDOUT_FILENO});
    return 0;
  }
  std::string target = run_target(options.run, "/log?offset=" + std::to_string(options.offset));
  if (!file.empty()) target += "&name=" + http::percent_encode(file);
  if (!session.json()) {
    session.client().stream("GET", target, [](std::span<const std::byte> piece) {
      print({reinterpret_cast<const char*>(piece.data()), piece.size()});
    });
    return 0;
  }
  if (options.follow) session.get_patiently(run_target(options.run, "/wait"));
  const std::string text = session.get(target);
  print(dump_document({{"run", options.run},
                       {"name", file.empty() ? "user_logs/std_log.txt" : file},
                       {"offset", options.offset},
                       {"text", text}}) +
        "\n");
  return 0;
}

}  // namespace runner::cli
