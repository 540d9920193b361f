#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/follow.hpp"
#include "runner/cli/log_display.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

std::string target_of(const LogsOptions& options) {
  std::string query = "offset=" + std::to_string(options.offset);
  if (options.tail) query = "tail=" + std::to_string(*options.tail);
  if (options.head) query = "head=" + std::to_string(*options.head);
  if (options.limit) query += "&limit=" + std::to_string(*options.limit);
  if (options.file) query += "&name=" + http::percent_encode(*options.file);
  return run_target(options.run, "/log?" + query);
}

void show(Session& session, const LogsOptions& options) {
  std::optional<LogDisplay> display;
  if (!options.raw && ::isatty(STDOUT_FILENO) == 1) display.emplace(terminal_width(), false);
  session.client().stream("GET", target_of(options), [&](std::span<const std::byte> piece) {
    const std::string_view bytes(reinterpret_cast<const char*>(piece.data()), piece.size());
    if (display)
      print(display->take(bytes));
    else
      print(bytes);
  });
  if (display) print(display->finish());
}

}  // namespace

int run(Session& session, const LogsOptions& options) {
  if (options.follow && !session.json()) {
    const std::string file = options.file.value_or("");
    if (file.empty() && options.offset == 0) follow_progress(session, options.run);  // until there is a log
    follow_log(session, {.run = options.run,
                         .file = file,
                         .offset = options.offset,
                         .tail = options.tail,
                         .output = STDOUT_FILENO,
                         .raw = options.raw});
    return 0;
  }
  if (!session.json()) {
    show(session, options);
    return 0;
  }
  if (options.follow) session.get_patiently(run_target(options.run, "/wait"));
  std::int64_t offset = options.offset;
  session.client().tell_offset([&offset](std::int64_t begin) { offset = begin; });
  const std::string text = session.get(target_of(options));
  print(dump_document({{"run", options.run},
                       {"name", options.file.value_or("user_logs/std_log.txt")},
                       {"offset", offset},
                       {"text", text}}) +
        "\n");
  return 0;
}

}  // namespace runner::cli
