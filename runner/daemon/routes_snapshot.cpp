// Snapshots without a run.
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "runner/api/restored_document.hpp"
#include "runner/api/snapshot_document.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"

namespace runner::daemon {
namespace {

constexpr const char* kBytes = "application/octet-stream";

// Text on its way to the client in pieces of a socket buffer's size.
class TextStream {
 public:
  explicit TextStream(Exchange& exchange) : exchange_(exchange) {
    text_.reserve(2 * kPiece);
    exchange_.start_stream(200, kBytes, std::nullopt);
  }
  TextStream& operator<<(std::string_view text) {
    text_ += text;
    if (text_.size() >= kPiece) flush();
    return *this;
  }
  void end_item() { *this << std::string_view("\0", 1); }
  void finish() {
    flush();
    exchange_.finish_stream();
  }

 private:
  static constexpr std::size_t kPiece = 64 << 10;

  void flush() {
    exchange_.write(std::as_bytes(std::span(text_)));
    text_.clear();
  }

  Exchange& exchange_;
  std::string text_;
};

}  // namespace

void Routes::snapshot_create(const http::Request& request, Exchange& exchange) {
  const auto snapshot =
      pipeline_.create_snapshot(absolute_path(body_of(request), "sourceDirectory"), notices_to(request, exchange));
  exchange.respond(
      {.status = 201,
       .body = api::snapshot_document(
           {.id = snapshot.id, .files = snapshot.files, .bytes = snapshot.bytes, .warnings = snapshot.warnings})});
}

void Routes::snapshot_show(const http::Request& request, Exchange& exchange) {
  api::SnapshotSummary summary{.id = pipeline_.resolve_snapshot(request.path[2])};
  snapshot::for_each_entry(pipeline_.content(), summary.id, [&summary](const snapshot::Entry& entry) {
    if (entry.type == snapshot::EntryType::kDirectory) {
      ++summary.directories;
      return;
    }
    ++summary.files;
    summary.bytes += entry.bytes;
  });
  exchange.respond({.status = 200, .body = api::snapshot_summary_document(summary)});
}

void Routes::snapshot_entries(const http::Request& request, Exchange& exchange) {
  const Hash id = pipeline_.resolve_snapshot(request.path[2]);
  TextStream stream(exchange);
  snapshot::for_each_entry(pipeline_.content(), id, [&stream](const snapshot::Entry& entry) {
    const char type = static_cast<char>(entry.type);
    stream << std::string_view(&type, 1) << " " << std::to_string(entry.bytes) << " " << entry.content.hex() << " "
           << entry.path;
    stream.end_item();
  });
  stream.finish();
}

void Routes::snapshot_restore(const http::Request& request, Exchange& exchange) {
  const Hash id = pipeline_.resolve_snapshot(request.path[2]);
  const std::string directory = absolute_path(body_of(request), "directory");
  const auto restored = pipeline_.restore_snapshot(id, directory);
  exchange.respond(
      {.status = 200,
       .body = api::restored_document(
           {.run = {}, .snapshot = id, .directory = directory, .files = restored.files, .bytes = restored.bytes})});
}

void Routes::source_files(const http::Request& request, Exchange& exchange) {
  const auto paths = pipeline_.list_source(absolute_path(request, "directory"));
  TextStream stream(exchange);
  for (const std::string& path : paths) {
    stream << path;
    stream.end_item();
  }
  stream.finish();
}

void Routes::source_explanations(const http::Request& request, Exchange& exchange) {
  std::vector<std::string> paths;
  for (const auto& [name, value] : request.query)
    if (name == "path") paths.push_back(value);
  const auto explained = pipeline_.explain_source(absolute_path(request, "directory"), paths);
  std::vector<api::ExplainedPath> rows;
  for (std::size_t i = 0; i < paths.size(); ++i)
    rows.push_back({.path = paths[i],
                    .included = explained[i].included,
                    .reason = explained[i].reason,
                    .file = explained[i].file,
                    .line = explained[i].line,
                    .pattern = explained[i].pattern});
  exchange.respond({.status = 200, .body = api::explanation_list_document(rows)});
}

}  // namespace runner::daemon
