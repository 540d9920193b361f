// Snapshots without a run: made, shown.
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/nul_items.hpp"
#include "runner/cli/quoted_path.hpp"
#include "runner/cli/sign_of_life.hpp"
#include "runner/cli/submission.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

// "f 12 HASH PATH", as the daemon streams it.
struct ListedEntry {
  char type;
  std::int64_t bytes = 0;
  std::string_view hash;
  std::string_view path;
};
ListedEntry parse_entry(std::string_view line) {
  constexpr std::size_t kDigits = 64;
  ListedEntry entry{.type = line.empty() ? '?' : line[0], .hash = {}, .path = {}};
  const auto [end, error] =
      std::from_chars(line.data() + std::min<std::size_t>(2, line.size()), line.data() + line.size(), entry.bytes);
  const std::size_t at = static_cast<std::size_t>(end - line.data());
  if (error != std::errc{} || line.size() < at + 1 + kDigits + 2)
    throw Error(ErrorCode::kInternal, "the daemon's list of entries is malformed");
  entry.hash = line.substr(at + 1, kDigits);
  entry.path = line.substr(at + 1 + kDigits + 1);
  return entry;
}

std::string_view type_word(char type) {
  switch (type) {
    case 'f':
      return "file";
    case 'x':
      return "executable";
    case 'l':
      return "symlink";
    default:
      return "directory";
  }
}

std::string whole_text(const Json& object, const char* key) {
  return std::to_string(static_cast<std::int64_t>(number_at(object, key).value_or(0)));
}

}  // namespace

int run(Session& session, const SnapshotCreateOptions& options) {
  Json body = Json::object();
  body["sourceDirectory"] = absolute_directory(std::filesystem::current_path(), options.directory);
  const std::string answer = [&] {
    const SignOfLife sign("runner: reading " + printable(options.directory) + " …\n");
    return session.post_with_notices("/v1/snapshots", dump_document(body));
  }();
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const Json document = parse_document(answer);
  for (const Json& warning : member(document, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  print(text_at(document, "snapshotId") + "\n");
  return 0;
}

// One line an entry: TYPE (f file, x executable, l symbolic link, d directory), bytes, the content's first digits,
// path.
int run(Session& session, const SnapshotShowOptions& options) {
  constexpr std::size_t kShownDigits = 12;
  constexpr std::size_t kSizeColumns = 12;
  const Json summary = parse_document(session.get(snapshot_target(options.snapshot)));
  const std::string id = text_at(summary, "snapshotId");
  PrintBuffer out;
  if (session.json()) {
    std::string head = dump_document(summary);
    head.pop_back();  // the object goes on
    out << head << ",\"items\":[";
  } else {
    out << "snapshot  " << id << "\nfiles     " << whole_text(summary, "files") << "\nbytes     "
        << whole_text(summary, "bytes") << "\n\n";
  }
  bool first = true;
  NulItems items([&](std::string_view line) {
    const ListedEntry entry = parse_entry(line);
    if (session.json()) {
      Json item;
      item["path"] = entry.path;
      item["type"] = type_word(entry.type);
      item["bytes"] = entry.bytes;
      item["sha256"] = entry.hash;
      out << (first ? "" : ",") << dump_document(item);
      first = false;
      return;
    }
    std::string size = entry.type == 'd' ? "-" : std::to_string(entry.bytes);
    if (size.size() < kSizeColumns) size.insert(0, kSizeColumns - size.size(), ' ');
    out << std::string_view(&entry.type, 1) << size << "  " << entry.hash.substr(0, kShownDigits) << "  "
        << quoted_path(entry.path) << (entry.type == 'd' ? "/\n" : "\n");
  });
  session.client().stream("GET", snapshot_target(id, "/entries"),
                          [&items](std::span<const std::byte> piece) { items.take(piece); });
  items.finish();
  if (session.json()) out << "]}\n";
  out.flush();
  return 0;
}

}  // namespace runner::cli
