// The files of a work tree as git would commit them: found one component at a time (never through a link, as git), read
// without waiting, converted as .gitattributes and core.autocrlf say, without running anything. Private to git/. Not
// for several threads at once.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "git/repository_handle.hpp"
#include "runner/os/fd.hpp"

namespace runner::git {

// What of the configuration changes how files are compared.
struct Settings {
  bool file_mode = true;         // core.fileMode: executable bits count
  bool symlinks = true;          // core.symlinks: else links are checked out as files
  bool sparse_checkout = false;  // core.sparseCheckout
};
Settings read_settings(const OpenRepository& repository);

os::GitId blob_id(std::string_view content);

class WorkFiles {
 public:
  explicit WorkFiles(const OpenRepository& repository);  // throws Unreadable

  const Settings& settings() const { return settings_; }
  // lstat of a path of the work tree; nothing if it is not there, also when a directory on the way is a link.
  std::optional<struct ::stat> status(std::string_view path);

  // The mode git would record for a file that has `info`, where it records `known` now.
  std::uint32_t mode_of(const struct ::stat& info, std::uint32_t known) const;

  // The object that the file (or link) would become; nothing if it cannot be read (`unreadable`: no permission), is
  // neither, or stands under an external filter, which only a program could apply.
  std::optional<os::GitId> id_of_file(std::string_view path, std::uint32_t mode);

  enum class Content { kRead, kGone, kTooLarge, kFiltered };
  // The content that git would store. `limit` in bytes.
  Content content_of(std::string_view path, std::uint32_t mode, std::size_t limit, std::string& content);

 private:
  struct Level {
    std::string name;
    os::Fd fd;
  };
  int directory_of(std::string_view path);  // -1: there is none
  int deeper_directory(int fd, std::string_view name, std::string_view path);
  os::Fd open(std::string_view path);  // a regular file, without waiting
  bool is_under_external_filter(const std::string& path, bool& lfs);
  void expect_readable_attributes(std::string_view path);
  FilterList filters_of(const std::string& path);
  std::string link_target(std::string_view path);

  const OpenRepository& repository_;
  Settings settings_;
  os::Fd root_;
  std::vector<Level> levels_;
  os::Fd deep_;
  std::map<std::string, bool, std::less<>>
      attributes_seen_;                   // directories whose .gitattributes is known to be readable
  std::map<std::string, bool> external_;  // filter's name → it names a program
  Config config_;
};

}  // namespace runner::git
