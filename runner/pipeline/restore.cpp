// A stored snapshot as real files in a directory of the user's, whole or visibly unfinished.
//
// A directory that does not exist yet is made under a hidden name beside it and renamed. One that exists (and is empty)
// stays the directory it is, since a shell may stand in it and it may be a mount point: it is filled under a hidden
// name inside of it, which gives up its entries one by one at the end. Either way an interrupted restore leaves a
// ".runner-restore-…" or ".tmp-checkout-…" behind and never something that could pass for the snapshot.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <random>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"
#include "runner/pipeline/pipeline.hpp"
#include "snapshot/snapshot.hpp"

namespace runner::pipeline {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChoose = "choose a directory that does not exist, or an empty one";

std::string hidden_name() {
  std::random_device entropy;
  return ".runner-restore-" + std::to_string(entropy()) + std::to_string(entropy());
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

std::vector<std::string> names_in(const fs::path& path) {
  const Directory directory(::opendir(path.c_str()));
  if (!directory) throw errno_error(errno, "list " + path.string());
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) throw errno_error(errno, "list " + path.string());
  return names;
}

// Nothing of an unfinished restore stays, unless even removing fails.
class Unfinished {
 public:
  explicit Unfinished(fs::path path) : path_(std::move(path)) {}
  ~Unfinished() {
    try {
      if (!path_.empty()) os::remove_tree(path_);
    } catch (const std::exception&) {  // what was in the way is being reported already
    }
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;

  const fs::path& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  fs::path path_;
};

void rename_to_new(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
  if (errno == EEXIST) throw Error(ErrorCode::kConflict, to.string() + ": somebody made it meanwhile", kChoose);
  throw errno_error(errno, "rename to " + to.string());
}

void fill_existing(const ContentReader& content, const Hash& snapshot, const fs::path& target) {
  Unfinished filled(target / hidden_name());
  snapshot::materialize(content, snapshot, filled.path());
  std::vector<std::unique_ptr<Unfinished>> moved;
  for (const std::string& name : names_in(filled.path())) {
    rename_to_new(filled.path() / name, target / name);
    moved.push_back(std::make_unique<Unfinished>(target / name));
  }
  for (const auto& entry : moved) entry->keep();
}

// To a directory that is not there.
void make_new(const ContentReader& content, const Hash& snapshot, const fs::path& target) {
  struct ::stat info {};
  if (::lstat(target.c_str(), &info) == 0)
    throw Error(ErrorCode::kConflict, "it is a link that leads nowhere", kChoose);
  if (::stat(target.parent_path().c_str(), &info) != 0)
    throw errno_error(errno, "its parent directory " + target.parent_path().string());
  Unfinished filled(target.parent_path() / hidden_name());
  snapshot::materialize(content, snapshot, filled.path());
  rename_to_new(filled.path(), target);
  filled.keep();
}

void restore(const ContentReader& content, const Hash& snapshot, const fs::path& target) {
  struct ::stat info {};
  if (::stat(target.c_str(), &info) != 0) return make_new(content, snapshot, target);
  if (!S_ISDIR(info.st_mode)) throw Error(ErrorCode::kConflict, "it exists and is not a directory", kChoose);
  if (!names_in(target).empty()) throw Error(ErrorCode::kConflict, "the directory is not empty", kChoose);
  fill_existing(content, snapshot, target);
}

}  // namespace

Hash Pipeline::snapshot_of(const std::string& id) const {
  const RunRecord run = history_.get(id);
  if (!run.snapshot) throw Error(ErrorCode::kNotFound, "run " + id + " has no snapshot");
  return *run.snapshot;
}

Pipeline::Restored Pipeline::restore_snapshot(const Hash& snapshot, const std::string& directory) const {
  fs::path target = fs::path(directory).lexically_normal();
  if (!target.is_absolute()) throw Error(ErrorCode::kInvalid, "restore to " + directory + ": not an absolute path");
  if (!target.has_filename()) target = target.parent_path();  // "dir/" is "dir"
  Restored restored;
  snapshot::for_each_entry(content_, snapshot, [&restored](const snapshot::Entry& entry) {
    if (entry.type == snapshot::EntryType::kDirectory) return;
    ++restored.files;
    restored.bytes += entry.bytes;
  });
  try {
    restore(content_, snapshot, target);
  } catch (const Error& error) {  // an adapter's: says where to
    throw error.within("restore to " + target.string());
  }
  return restored;
}

}  // namespace runner::pipeline
