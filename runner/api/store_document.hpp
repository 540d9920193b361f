// The JSON shapes of `gc` and `fsck` (docs/openapi.json). Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace runner::api {

// One thing that goes or stays, and why.
struct GcItem {
  std::string kind;        // "snapshot", "contents", "chunks", "checkout", "statCache", "temporary", "files"
  std::string name;        // a snapshot's id, a path; empty for a mere number of things
  std::int64_t count = 0;  // files of a snapshot, contents, chunks
  std::int64_t bytes = 0;
  std::string reason;
};
struct GcReport {
  bool dry_run = false;
  std::int64_t contents = 0;       // that nothing names
  std::int64_t content_bytes = 0;  // as stored: compressed
  std::int64_t chunks = 0;         // of batches that were never committed
  std::int64_t chunk_bytes = 0;
  std::int64_t caches = 0;  // checkouts, stat caches, temporary files
  std::int64_t cache_bytes = 0;
  std::int64_t spared = 0;      // of the contents: used again while they were to be removed
  std::int64_t disk_bytes = 0;  // by which content.db and the caches got smaller; 0 in a dry run
  std::int64_t kept_snapshots = 0;
  std::int64_t kept_files = 0;  // artifacts
  std::int64_t runs = 0;
  bool explained = false;
  std::vector<GcItem> freed;  // if explained
  std::vector<GcItem> kept;
  std::vector<std::string> warnings;
};
std::string gc_document(const GcReport& report);

struct FsckProblem {
  std::string text;               // one line naming the thing and what is wrong with it
  std::vector<std::string> runs;  // that refer to it, at most as many as are shown
  std::int64_t run_count = 0;
  bool repaired = false;
};
struct FsckReport {
  std::int64_t contents = 0;
  std::int64_t content_bytes = 0;
  std::int64_t trees = 0;
  std::int64_t runs = 0;
  std::int64_t checkouts = 0;
  bool repair = false;
  std::int64_t ledger_entries = 0;
  std::string ledger_head;  // 64 hexadecimal digits; empty: it cannot be read
  std::vector<FsckProblem> problems;
};
std::string fsck_document(const FsckReport& report);

// Lines of the answer while it is worked on, and its last one.
std::string progress_line(const std::string& doing);
std::string result_line(const std::string& document);

}  // namespace runner::api
