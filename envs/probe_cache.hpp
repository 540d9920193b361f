// Remembered answers of interpreters, valid while nothing they depend on has changed. Private to this folder. Any
// thread.
//
// File <sha256 of the key>.json, version 2:
//   {"version": 2, "key": K, "answer": {…}, "watch": [[path, size, mtime ns, inode] | [path], …]}    [path]: must not
//   exist
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/time.hpp"

namespace runner::envs {

class ProbeCache {
 public:
  explicit ProbeCache(std::filesystem::path directory) : directory_(std::move(directory)) {}

  // The answer (JSON text) if it is remembered and every watched path looks as it did.
  std::optional<std::string> find(const std::string& key) const;
  // `asked` is when the question was put: a path that changed since then may have changed behind the answer's back, so
  // nothing is remembered. Neither is anything where the disk does not take it: the next call asks again.
  void remember(const std::string& key, const std::string& answer, const std::vector<std::string>& watch,
                UtcTime asked) const;

 private:
  std::filesystem::path file_of(const std::string& key) const;
  std::filesystem::path directory_;
};

}  // namespace runner::envs
