#include "runner/cli/log_arguments.hpp"

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace runner::cli {

void define_log(CLI::App& app, LogsOptions& o) {
  app.add_flag("-f,--follow", o.follow, "go on until the run has ended");
  app.add_option("--name", o.file, "another file of the run: logs/…, outputs/… (user_logs/std_log.txt)")
      ->type_name("FILE");
  const CLI::Range natural(std::int64_t{0}, std::numeric_limits<std::int64_t>::max());
  auto* tail = app.add_option("-n,--tail", o.tail, "the last so many lines")->type_name("N")->check(natural);
  auto* head = app.add_option("--head", o.head, "the first so many lines")->type_name("N")->check(natural);
  auto* offset = app.add_option("--offset", o.offset, "skip so many bytes (0)")->type_name("N")->check(natural);
  auto* limit = app.add_option("--limit-bytes", o.limit, "so many bytes at most")->type_name("N")->check(natural);
  for (auto* lines : {tail, head}) lines->excludes(offset)->excludes(limit);
  head->excludes(tail)->excludes("--follow");
  limit->excludes("--follow");
  app.add_flag("--raw", o.raw, "on a terminal, too, the bytes as they are");
}

}  // namespace runner::cli
