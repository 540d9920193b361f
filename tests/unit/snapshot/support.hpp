// What the tests of snapshots share: temporary directories, real git, a store in memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runner/core/content.hpp"
#include "runner/core/error.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::test {

class TempDir {
 public:
  TempDir();
  explicit TempDir(const std::filesystem::path& in);  // an existing directory
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Makes parents as needed; the content and the mode are as given, whatever the umask.
void write_file(const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);
std::string read_file(const std::filesystem::path& path);

// HOME of this process and of every git below is an empty directory: the developer's configuration does not count.
const std::filesystem::path& test_home();
// Standard output of git in `directory`; fails the test when git does.
std::string git(const std::filesystem::path& directory, std::initializer_list<std::string> arguments);
std::string git(const std::filesystem::path& directory, const std::vector<std::string>& arguments);

// A valid repository without the cost of `git init`.
void make_repository(const std::filesystem::path& directory, std::string_view extra_config = "");

std::vector<std::string> split_nul(std::string_view text);

// Which entries of directories are opened, by whomever, while this lives (inotify). Looking at them does not count.
class OpenWatch {
 public:
  explicit OpenWatch(const std::vector<std::filesystem::path>& directories);
  ~OpenWatch();
  OpenWatch(const OpenWatch&) = delete;
  OpenWatch& operator=(const OpenWatch&) = delete;
  std::vector<std::string> opened();  // sorted names; "." is the directory itself

 private:
  int fd_;
};

// The largest resident set of a child that runs `work`, in bytes over what it had when it began.
std::int64_t peak_memory(const std::function<void()>& work);

class MemoryStore : public ContentWriter, public ContentReader {
 public:
  std::unique_ptr<ContentBatch> begin() override;
  bool contains(const Hash& hash) const override;
  std::int64_t size(const Hash& hash) const override;
  void read(const Hash& hash, std::int64_t offset, std::int64_t length, const WriteSome& write) const override;

  Hash put(std::string content);
  void forget(const Hash& hash) { contents_.erase(hash); }
  std::size_t count() const { return contents_.size(); }
  std::atomic<int> puts = 0;   // since the test set it to 0
  std::atomic<int> asked = 0;  // the same for `known`
  std::atomic<std::uint64_t> generation = 0;
  int commits = 0;
  std::function<void()> during_stream;  // called once a stream, behind its first piece
  bool knows = true;                    // whether batches answer `known`

 private:
  mutable std::mutex mutex_;
  std::unordered_map<Hash, std::string, HashHasher> contents_;
};

// Hashes and forgets: for what would not fit into memory. Knows nothing, so everything is read.
class ForgetfulStore : public ContentWriter {
 public:
  std::unique_ptr<ContentBatch> begin() override;
};

}  // namespace runner::test
