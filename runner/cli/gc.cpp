// Freeing what no run needs.
#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/line_answer.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

std::int64_t whole(const Json& object, const char* key) {
  return static_cast<std::int64_t>(number_at(object, key).value_or(0));
}

std::string counted(std::int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

// "snapshot 3fa9…: 120 files, 4.2 MiB: no run references it"
std::string item_text(const Json& item) {
  const std::string kind = text_at(item, "kind");
  const std::string name = printable(text_at(item, "name"));
  const std::int64_t count = whole(item, "count");
  std::string text;
  if (kind == "snapshot")
    text = "snapshot " + name + ": " + counted(count, "file", "files") + ", ";
  else if (kind == "checkout")
    text = "checkout " + name + ": ";
  else if (kind == "environment")
    text = "environment " + name + ": ";
  else if (kind == "statCache")
    text = "stat cache " + name + ": ";
  else if (kind == "temporary")
    text = "temporary " + name + ": ";
  else if (kind == "contents")
    text = counted(count, "content", "contents") + ", ";
  else if (kind == "chunks")
    text = counted(count, "chunk", "chunks") + ", ";
  else if (kind == "files")
    text = counted(count, "file", "files") + ", ";
  else
    text = "… and " + std::to_string(count) + " more, ";
  return text + format_size(whole(item, "bytes")) + ": " + printable(text_at(item, "reason"));
}

std::string items_text(const Json& items, const char* verb, Colour colour) {
  std::string text;
  for (const Json& item : items) text += coloured(verb, colour) + "  " + item_text(item) + "\n";
  return text;
}

std::string summary(const Json& report) {
  const std::int64_t contents = whole(report, "contents");
  const std::int64_t chunks = whole(report, "chunks");
  const std::int64_t caches = whole(report, "caches");
  std::string what;
  const auto add = [&what](const std::string& part) { what += (what.empty() ? "" : ", ") + part; };
  if (contents > 0)
    add(counted(contents, "content", "contents") + " that no run needs (" + format_size(whole(report, "contentBytes")) +
        ")");
  if (chunks > 0)
    add(counted(chunks, "chunk", "chunks") + " of interrupted snapshots (" + format_size(whole(report, "chunkBytes")) +
        ")");
  if (caches > 0) add(counted(caches, "cache", "caches") + " (" + format_size(whole(report, "cacheBytes")) + ")");
  const Json& dry = member(report, "dryRun");
  std::string text;
  if (what.empty())
    text = "nothing to free";
  else if (dry.is_boolean() && dry.get<bool>())
    text = "would free " + what;
  else
    text = "freed " + what + "; " + format_size(whole(report, "diskBytes")) + " less on the disk";
  if (const std::int64_t spared = whole(report, "spared"); spared > 0)
    text += "; " + counted(spared, "content is", "contents are") + " in use again and stayed";
  return text + "\nkept " + counted(whole(report, "keptSnapshots"), "snapshot", "snapshots") + " and " +
         counted(whole(report, "keptFiles"), "file", "files") + " of " + counted(whole(report, "runs"), "run", "runs") +
         "\n";
}

}  // namespace

int run(Session& session, const GcOptions& options) {
  const Json report = post_for_lines(session, "/v1/gc", {{"explain", options.explain}, {"dryRun", options.dry_run}});
  if (session.json()) {
    print(json_text(dump_document(report)));
    return 0;
  }
  for (const Json& warning : member(report, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  print(items_text(member(report, "kept"), "keep", Colour::kGreen) +
        items_text(member(report, "freed"), "free", Colour::kYellow) + summary(report));
  return 0;
}

}  // namespace runner::cli
