// What runs name, compared with what the store has. Every tree is read once, however many snapshots share it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "runner/core/content.hpp"
#include "snapshot/snapshot.hpp"
#include "store/history.hpp"

namespace runner::pipeline {

class ReferenceCheck {
 public:
  using IsDamaged = std::function<bool(const Hash&)>;
  using Tick = std::function<void()>;

  ReferenceCheck(const ContentReader& content, IsDamaged is_damaged, Tick tick)
      : content_(content), is_damaged_(std::move(is_damaged)), tick_(std::move(tick)) {}

  // One content that is named and not there as it should be.
  struct Fault {
    Hash content;
    std::int64_t bytes = 0;  // of a file: as it is named
    snapshot::EntryType type = snapshot::EntryType::kFile;
    std::string why;                // "damaged", "missing", "has 3 bytes instead of 5", "not a tree: …"
    std::string place;              // where it was named first: "src/a.py of snapshot 3fa9…", "outputs/m of run …"
    std::vector<std::string> runs;  // that need it, at most kMostRuns
    std::int64_t run_count = 0;
  };
  static constexpr std::size_t kMostRuns = 10;

  void check(const store::History::RunContents& run);
  const std::vector<Fault>& faults() const { return faults_; }
  std::int64_t trees() const { return static_cast<std::int64_t>(below_.size()); }

  // The faults of one snapshot with their paths in it ("" is the root); only what is damaged is descended into.
  void for_each_place(const Hash& snapshot,
                      const std::function<void(const std::string& path, const Fault&)>& visit) const;

 private:
  using Numbers = std::vector<std::uint32_t>;  // of faults, ascending
  const Numbers& check_tree(const Hash& tree);
  void check_content(const Hash& hash, std::int64_t bytes, snapshot::EntryType type, Numbers& found);
  void add(const Hash& hash, std::int64_t bytes, snapshot::EntryType type, std::string why, Numbers& found);
  void visit_places(const Hash& tree, const std::string& prefix,
                    const std::function<void(const std::string&, const Fault&)>& visit) const;

  const ContentReader& content_;
  const IsDamaged is_damaged_;
  const Tick tick_;
  std::vector<Fault> faults_;
  std::unordered_map<Hash, std::uint32_t, HashHasher> numbers_;  // of the fault that is this content
  std::unordered_map<Hash, Numbers, HashHasher> below_;          // by tree, itself included
};

}  // namespace runner::pipeline
