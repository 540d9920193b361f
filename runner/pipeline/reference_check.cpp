#include "runner/pipeline/reference_check.hpp"

#include <algorithm>
#include <utility>

#include "runner/core/error.hpp"
#include "snapshot/tree_object.hpp"

namespace runner::pipeline {

using snapshot::EntryType;

void ReferenceCheck::add(const Hash& hash, std::int64_t bytes, EntryType type, std::string why, Numbers& found) {
  const auto [at, is_new] = numbers_.try_emplace(hash, static_cast<std::uint32_t>(faults_.size()));
  if (is_new)
    faults_.push_back({.content = hash, .bytes = bytes, .type = type, .why = std::move(why), .place = {}, .runs = {}});
  found.push_back(at->second);
}

void ReferenceCheck::check_content(const Hash& hash, std::int64_t bytes, EntryType type, Numbers& found) {
  try {
    const std::int64_t stored = content_.size(hash);
    if (stored != bytes)
      add(hash, bytes, type, "has " + std::to_string(stored) + " bytes instead of " + std::to_string(bytes), found);
    else if (is_damaged_(hash))
      add(hash, bytes, type, "damaged", found);
  } catch (const Error& error) {  // an adapter's: absence is what is looked for
    if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kInternal) throw;
    add(hash, bytes, type, error.code() == ErrorCode::kNotFound ? "missing" : error.message(), found);
  }
}

const ReferenceCheck::Numbers& ReferenceCheck::check_tree(const Hash& tree) {
  if (const auto known = below_.find(tree); known != below_.end()) return known->second;
  tick_();
  Numbers found;
  std::vector<snapshot::TreeEntry> entries;
  try {
    entries = snapshot::decode_tree(content_.read_all(tree));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound && error.code() != ErrorCode::kInternal) throw;
    const bool readable = error.code() == ErrorCode::kInternal && !is_damaged_(tree);
    add(tree, 0, EntryType::kDirectory,
        error.code() == ErrorCode::kNotFound ? "missing" : (readable ? error.message() : "damaged"), found);
  }
  for (const snapshot::TreeEntry& entry : entries) {
    if (entry.type == EntryType::kDirectory) {
      const Numbers& below = check_tree(entry.content);
      found.insert(found.end(), below.begin(), below.end());
    } else {
      check_content(entry.content, entry.bytes, entry.type, found);
    }
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  found.shrink_to_fit();
  return below_.emplace(tree, std::move(found)).first->second;
}

void ReferenceCheck::check(const store::History::RunContents& run) {
  Numbers found;
  for (const Artifact& artifact : run.artifacts) {
    const std::size_t before = found.size();
    check_content(artifact.sha256, artifact.bytes, EntryType::kFile, found);
    if (found.size() > before && faults_[found.back()].place.empty())
      faults_[found.back()].place = artifact.name + " of run " + run.id;
  }
  if (run.snapshot) {
    const Numbers& below = check_tree(*run.snapshot);
    const bool unplaced =
        std::any_of(below.begin(), below.end(), [&](std::uint32_t number) { return faults_[number].place.empty(); });
    if (unplaced)
      for_each_place(*run.snapshot, [&](const std::string& path, const Fault& fault) {
        std::string& place = faults_[numbers_.at(fault.content)].place;
        if (place.empty()) place = (path.empty() ? "the root" : path) + " of snapshot " + run.snapshot->hex();
      });
    found.insert(found.end(), below.begin(), below.end());
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  for (const std::uint32_t number : found) {
    Fault& fault = faults_[number];
    ++fault.run_count;
    if (fault.runs.size() < kMostRuns) fault.runs.push_back(run.id);
  }
}

void ReferenceCheck::visit_places(const Hash& tree, const std::string& prefix,
                                  const std::function<void(const std::string&, const Fault&)>& visit) const {
  if (const auto fault = numbers_.find(tree); fault != numbers_.end())
    return visit(prefix.empty() ? "" : prefix.substr(0, prefix.size() - 1), faults_[fault->second]);
  for (const snapshot::TreeEntry& entry : snapshot::decode_tree(content_.read_all(tree))) {
    if (entry.type == EntryType::kDirectory) {
      if (!below_.at(entry.content).empty()) visit_places(entry.content, prefix + entry.name + "/", visit);
    } else if (const auto fault = numbers_.find(entry.content); fault != numbers_.end()) {
      visit(prefix + entry.name, faults_[fault->second]);
    }
  }
}

void ReferenceCheck::for_each_place(const Hash& snapshot,
                                    const std::function<void(const std::string&, const Fault&)>& visit) const {
  const auto below = below_.find(snapshot);
  if (below != below_.end() && !below->second.empty()) visit_places(snapshot, "", visit);
}

}  // namespace runner::pipeline
