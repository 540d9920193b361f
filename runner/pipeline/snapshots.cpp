// Snapshots without a run: made, listed before they are made, found, restored.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kLeastDigits = 4;
constexpr std::size_t kCandidates = 256;  // contents with one prefix; of a million, four digits leave some fifteen
constexpr std::size_t kNamed = 5;         // candidates in a message

bool is_hexadecimal(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

snapshot::Snapshot Pipeline::create_snapshot(const std::string& source_directory, const Notify& notify) {
  const auto hold = content_.hold();
  return take_snapshot(source_directory, notify);
}

snapshot::Snapshot Pipeline::take_snapshot(const std::string& source_directory, const Notify& notify) {
  snapshot::Options options = snapshot_options(source_directory);
  options.large_files = configuration_.snapshot_warn_files;
  options.large_bytes = configuration_.snapshot_warn_bytes;
  std::string untold;
  options.before_large_copy = [&](const std::string& warning) {
    if (notify)
      notify(warning);
    else
      untold = warning;
  };
  auto snapshot = snapshot::take(options, content_);
  if (!untold.empty()) snapshot.warnings.insert(snapshot.warnings.begin(), std::move(untold));
  return snapshot;
}

std::vector<std::string> Pipeline::list_source(const std::string& source_directory) const {
  return snapshot::list_files(snapshot_options(source_directory));
}

std::vector<snapshot::Explanation> Pipeline::explain_source(const std::string& source_directory,
                                                            const std::vector<std::string>& paths) const {
  return snapshot::explain(snapshot_options(source_directory), paths);
}

Hash Pipeline::resolve_snapshot(const std::string& name) const {
  if (is_hexadecimal(name) && name.size() >= kLeastDigits && name.size() <= 64) {
    std::vector<Hash> found = content_.find(name, kCandidates);
    std::erase_if(found, [this](const Hash& hash) { return !snapshot::is_tree(content_, hash); });
    if (found.size() == 1) return found.front();
    if (found.size() > 1) {
      std::string names;
      for (std::size_t i = 0; i < std::min(found.size(), kNamed); ++i)
        names += (i == 0 ? "" : ", ") + found[i].hex().substr(0, std::min<std::size_t>(name.size() + 8, 64));
      throw Error(ErrorCode::kConflict, "snapshot '" + name + "' is ambiguous: " + names, "give more digits");
    }
    if (name.size() == 64) throw Error(ErrorCode::kNotFound, "no snapshot " + name);
  }
  const auto run = [&]() -> std::string {
    try {
      return history_.resolve(name);
    } catch (const Error& error) {  // an adapter's: the name may have been meant either way
      if (error.code() != ErrorCode::kNotFound) throw;
      throw Error(ErrorCode::kNotFound, "no snapshot and no run '" + name + "'",
                  "a snapshot is named by its id, at least four of its first digits, or a run");
    }
  }();
  const auto snapshot = history_.get(run).snapshot;
  if (!snapshot) throw Error(ErrorCode::kNotFound, "run " + run + " has no snapshot");
  return *snapshot;
}

}  // namespace runner::pipeline
