// The directory of checkouts on the disk: names, appearing, disappearing, what a crash left. Knows nothing of who uses
// them. Any thread, as long as one checkout is worked on by one thread at a time.
#pragma once

#include <filesystem>
#include <stop_token>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/time.hpp"
#include "snapshot/checkout_record.hpp"

namespace runner::snapshot {

class CheckoutDirectory {
 public:
  explicit CheckoutDirectory(std::filesystem::path directory) : directory_(std::move(directory)) {}

  struct Found {
    Hash snapshot;
    CheckoutRecord record;
    UtcTime last_used;
    bool trusted = false;  // complete, on the disk or made since the last reboot, and so is every layer below
  };
  struct Scan {
    std::vector<Found> found;
    std::vector<std::filesystem::path> leftovers;  // unfinished or half removed
  };
  Scan scan() const;

  std::filesystem::path tree(const Hash& snapshot) const;  // what is mounted
  static std::filesystem::path tree_in(const std::filesystem::path& temporary);
  // A directory with an empty "tree" in it, to be published or removed.
  std::filesystem::path make_temporary() const;
  // It appears under its name, whole. Error(kConflict) if there is one.
  void publish(const std::filesystem::path& temporary, const Hash& snapshot, const CheckoutRecord& record) const;
  // It disappears in one step; the place where it can be removed from. Missing is fine: nothing is at that place then.
  std::filesystem::path retire(const Hash& snapshot) const;
  // Returns early, with something left, when told to stop. Follows no links. True: nothing is left.
  static bool remove(const std::filesystem::path& place, const std::stop_token& stop = {});

  void note_use(const Hash& snapshot, UtcTime time) const noexcept;  // a cache's: what fails only costs order
  // Everything of this file system that was written before is on the disk when it returns.
  void sync() const;
  // `record` replaces what is there; the time of use stays.
  void rewrite(const Hash& snapshot, const CheckoutRecord& record, UtcTime last_used) const;

 private:
  std::filesystem::path temporary_name() const;

  const std::filesystem::path directory_;
};

}  // namespace runner::snapshot
