// Real files of snapshots, the lower layers of runs' working directories: caches that may be evicted at any time while
// nobody uses them, and come back. A snapshot that differs little from one that is here becomes a thin layer over it:
// the changed files, and whiteouts for what is gone.
//
//   checkouts/<snapshot id>/record   what it is (checkout_record.hpp)
//   checkouts/<snapshot id>/tree/    its files, 0644 or 0755, and directories, 0755; in a thin layer also whiteouts
//                                    (character devices 0:0, as overlayfs reads them)
//   checkouts/.tmp-…                 unfinished, or on its way out: removed at the next start
//
// A checkout appears by rename, whole. It is not synced when it appears; one that is not known to be on the disk is not
// trusted after a reboot (files may be empty then) but made anew.
//
// Threads: any may call. One of its own, "checkouts", evicts what is beyond the limits, removes what was evicted, and
// syncs what was made a while ago. The destructor waits for what that one is doing.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/time.hpp"

namespace runner::snapshot {

class Checkouts {
 public:
  struct Limits {
    std::int64_t bytes = std::int64_t{10} << 30;  // on disk, of all checkouts together
    std::size_t count = 64;
    std::size_t layers = 4;  // in one stack; the options of a mount must fit into a page
    // The kernel writes back what is older than 30 s (vm.dirty_expire_centisecs): a sync after that has little to do,
    // and no start of a run pays for one.
    std::chrono::milliseconds sync_after{60'000};
    // How long acquire() waits for the last user of one that is not intact any more: a container of an Engine is
    // removed a little after its run has ended.
    std::chrono::milliseconds patience{10'000};
  };

  // `directory` exists. What an earlier process left there counts, except what is not trusted: that is removed when it
  // is asked for, or by the thread, which looks for the first time in settle(). One object per directory.
  Checkouts(const ContentReader& store, std::filesystem::path directory, Limits limits);
  ~Checkouts();

  // The layers whose overlay is the snapshot, topmost first (lowerdir order): made if absent, once, whoever asks at the
  // same time. They stay until release(owner). Asking again for the same owner is cheap and changes nothing.
  // Error(kNotFound) for a snapshot that is not in the store, kNoSpace when the disk is full even without the checkouts
  // that nobody uses, kInternal for damaged content; nothing half made stays.
  std::vector<std::filesystem::path> acquire(const Hash& snapshot, const std::string& owner);
  // Whether acquire() would have nothing to make.
  bool ready(const Hash& snapshot) const;
  // A run that is live already (after a restart) uses it: nothing is made or looked at. Before settle().
  void adopt(const Hash& snapshot, const std::string& owner);
  // Of everything that it has. Unknown owners are fine.
  void release(const std::string& owner);
  // All that live runs use has been adopted: from now on checkouts may be evicted.
  void settle();

  struct Listed {
    Hash snapshot;
    std::int64_t bytes;  // on disk, of this layer alone
    UtcTime last_used;
    bool in_use;              // by an owner, itself or as a layer of another
    std::vector<Hash> below;  // the layers under it, topmost first; empty: a full checkout
  };
  std::vector<Listed> list() const;
  // True if it is not there when this returns; false: in use, a layer below another, or just being made.
  bool evict(const Hash& snapshot);
  // What differs from the snapshot when its layers are looked through, one line each (at most 100); empty: intact.
  // Reads every file. Error(kNotFound) if there is no such checkout.
  std::vector<std::string> verify(const Hash& snapshot) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace runner::snapshot
