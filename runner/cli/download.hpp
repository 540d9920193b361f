// Writing a run's files: names come from the run and are not trusted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runner/os/fd.hpp"

namespace runner::cli {

// A relative path without "", "." and ".." components and without NUL: safe to append to a directory.
bool is_safe_name(std::string_view name);
// Whether `wanted` (a file's name, or a directory's with or without the slash) covers `name`.
bool covers(std::string_view wanted, std::string_view name);

// A file that appears under its name only when it is complete; dropped otherwise.
class DownloadedFile {
 public:
  // Makes the directories above it. Error if it cannot be created.
  explicit DownloadedFile(const std::filesystem::path& target);
  ~DownloadedFile();
  DownloadedFile(const DownloadedFile&) = delete;
  DownloadedFile& operator=(const DownloadedFile&) = delete;

  void write(std::string_view bytes);
  std::int64_t bytes() const { return bytes_; }
  void publish();  // replaces what was there

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  os::Fd fd_;
  std::int64_t bytes_ = 0;
};

}  // namespace runner::cli
