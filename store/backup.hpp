// Both databases as they were at one moment, copied while others read and write them. One thread an object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

namespace runner::store {

class Backup {
 public:
  // The moment: what the history names then is among the contents, whatever a `gc` frees afterwards. Until the object
  // is gone, the WALs of both files only grow. Error(kUnavailable) if a `gc` frees so much just then that there is no
  // such moment, kInternal for a damaged file.
  Backup(const std::filesystem::path& history, const std::filesystem::path& content);
  ~Backup();

  // Told between two steps, of a few megabytes, how much there is to do, in bytes. May throw: then the copy ends, half.
  using Tick = std::function<void(std::int64_t done, std::int64_t all)>;
  // Into `target`, an empty file, by SQLite's online backup. Not synced. Error(kNoSpace), …
  void copy_history(const std::filesystem::path& target, const Tick& tick) const;
  void copy_content(const std::filesystem::path& target, const Tick& tick) const;

 private:
  class Source;
  std::unique_ptr<Source> history_, content_;
};

}  // namespace runner::store
