// What a snapshot of a directory would hold, and why.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/nul_items.hpp"
#include "runner/cli/quoted_path.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTargetLimit = 32 << 10;  // bytes of a request's target; the daemon takes headers of 64 KiB

// Absolute, without "." and ".." and a final slash. Any bytes: it goes into a request's target.
std::string absolute_path(const std::string& path) {
  std::string absolute = (fs::current_path() / path).lexically_normal().string();
  if (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
  return absolute;
}

// "" for the directory itself.
std::string relative_to(const std::string& directory, const std::string& path) {
  const std::string absolute = absolute_path(path);
  if (absolute == directory) return ".";
  const std::string base = directory == "/" ? directory : directory + "/";
  if (!absolute.starts_with(base))
    throw Error(ErrorCode::kInvalid, path + ": is not in the source directory " + directory,
                "--source-dir DIR names another one");
  return absolute.substr(base.size());
}

void print_explanation(const Json& item, const std::string& path) {
  const auto line = number_at(item, "line");
  // A rule as `git check-ignore -v` shows it: FILE:LINE:PATTERN.
  std::string why = text_at(item, "reason");
  if (line &&
      why == text_at(item, "file") + ":" + std::to_string(static_cast<long>(*line)) + ": " + text_at(item, "pattern"))
    why = text_at(item, "file") + ":" + std::to_string(static_cast<long>(*line)) + ":" + text_at(item, "pattern");
  const bool included = member(item, "included").is_boolean() && member(item, "included").get<bool>();
  print((included ? "in\t" : "out\t") + printable(why) + "\t" + quoted_path(path) + "\n");
}

}  // namespace

int run(Session& session, const SnapshotListOptions& options) {
  const std::string target = "/v1/source/files?directory=" + http::percent_encode(absolute_path(options.directory));
  if (session.json() && options.nul)
    throw Error(ErrorCode::kInvalid, "snapshot ls-files: -z and --json exclude each other", "leave one of them out");
  if (options.nul) {
    session.client().stream("GET", target, [](std::span<const std::byte> piece) {
      print({reinterpret_cast<const char*>(piece.data()), piece.size()});
    });
    return 0;
  }
  PrintBuffer out;
  std::size_t count = 0;
  if (session.json()) out << "{\"items\":[";
  NulItems items([&](std::string_view path) {
    if (!session.json()) {
      out << quoted_path(path) << "\n";
      return;
    }
    Json item;
    item["path"] = path;
    out << (count++ == 0 ? "" : ",") << dump_document(item);
  });
  session.client().stream("GET", target, [&items](std::span<const std::byte> piece) { items.take(piece); });
  items.finish();
  if (session.json()) out << "]}\n";
  out.flush();
  return 0;
}

int run(Session& session, const SnapshotExplainOptions& options) {
  const std::string directory = absolute_path(options.source_directory.value_or("."));
  const std::string base = "/v1/source/explanations?directory=" + http::percent_encode(directory);
  Json all = Json::array();
  std::size_t first = 0;
  while (first < options.paths.size()) {  // as many at once as fit into a request
    std::string target = base;
    std::size_t last = first;
    for (; last < options.paths.size() && (last == first || target.size() < kTargetLimit); ++last)
      target += "&path=" + http::percent_encode(relative_to(directory, options.paths[last]));
    const Json document = parse_document(session.get(target));
    for (const Json& item : member(document, "items")) {
      if (first == last) break;
      if (session.json())
        all.push_back(item);
      else
        print_explanation(item, options.paths[first]);
      ++first;
    }
    if (first != last) throw Error(ErrorCode::kInternal, "the daemon explained fewer paths than were asked about");
  }
  if (session.json()) print(json_text(dump_document(Json{{"items", std::move(all)}})));
  return 0;
}

}  // namespace runner::cli
