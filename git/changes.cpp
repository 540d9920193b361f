// HEAD → index → work tree in one pass over the sorted index, as `git status` does it: an entry whose recorded stat
// still fits is unchanged; else its size decides, else its content.
#include "git/changes.hpp"

#include <git2/sys/repository.h>

#include <algorithm>
#include <array>
#include <memory>

#include "git/submodule.hpp"

namespace runner::git {
namespace {

// What git may have compared with a file that changed within the second in which the index was written.
bool is_racy(const os::GitIndexEntry& entry, std::int64_t written_seconds) {
  return static_cast<std::int64_t>(entry.mtime_seconds) >= written_seconds;
}

bool is_as_recorded(const os::GitIndexEntry& entry, const struct ::stat& info) {
  const auto cut = [](auto value) { return static_cast<std::uint32_t>(value); };
  return entry.size == cut(info.st_size) && entry.mtime_seconds == cut(info.st_mtim.tv_sec) &&
         entry.mtime_nanoseconds == cut(info.st_mtim.tv_nsec) && entry.ctime_seconds == cut(info.st_ctim.tv_sec) &&
         entry.ctime_nanoseconds == cut(info.st_ctim.tv_nsec) && entry.inode == cut(info.st_ino) &&
         entry.uid == cut(info.st_uid) && entry.gid == cut(info.st_gid);
}

const os::GitId& empty_blob() {
  static const os::GitId id = blob_id("");
  return id;
}

class Search {
 public:
  Search(const OpenRepository& repository, const Objects& objects, WorkFiles& files, const os::GitIndex& index,
         const HasUntracked& untracked, int depth)
      : objects_(objects), files_(files), index_(index), submodules_(repository, untracked, depth) {}

  Changes run(const std::optional<os::GitId>& head_tree, const std::string& scope) {
    head_ = compare_with_head(objects_, head_tree, index_, scope);
    const auto range = index_.below(scope);
    auto same = head_.same.begin();
    for (std::size_t at = range.first; at < range.last;) {
      while (same != head_.same.end() && same->last <= at) ++same;
      const bool as_head = same != head_.same.end() && same->first <= at;
      const os::GitIndexEntry& entry = index_.entries()[at];
      if (entry.type() == os::kGitTree) {
        sparse_directory(entry, as_head);
        ++at;
      } else if (entry.stage != 0) {
        at = conflict(at, range.last);
      } else {
        tracked(entry, entry.path, as_head);
        ++at;
      }
    }
    while (next_head_ < head_.files.size()) removed_from_index(head_.files[next_head_++]);
    // Sparse directories bring theirs in one piece.
    std::sort(found_.changes.begin(), found_.changes.end(),
              [](const Change& a, const Change& b) { return a.path < b.path; });
    return std::move(found_);
  }

 private:
  // What HEAD has at `path`; files that HEAD has and the index has not are passed on the way.
  const HeadFile* head_file(std::string_view path) {
    while (next_head_ < head_.files.size() && head_.files[next_head_].path < path)
      removed_from_index(head_.files[next_head_++]);
    if (next_head_ == head_.files.size() || head_.files[next_head_].path != path) return nullptr;
    return &head_.files[next_head_++];
  }

  void removed_from_index(const HeadFile& file) {
    found_.dirty = true;
    found_.changes.push_back({.path = file.path, .old_mode = file.mode, .old_id = file.id});
  }

  static Change change_from(const HeadFile* head, std::string_view path) {
    Change change{.path = std::string(path)};
    if (head != nullptr) {
      change.old_mode = head->mode;
      change.old_id = head->id;
    }
    return change;
  }

  void add(Change change) {
    const bool same = change.old_mode == change.new_mode && (change.new_mode == 0 || change.new_id == change.old_id);
    if (!same || change.submodule_dirty) found_.changes.push_back(std::move(change));
  }

  void tracked(const os::GitIndexEntry& entry, std::string_view path, bool as_head) {
    HeadFile from_index;
    const HeadFile* head = nullptr;
    if (as_head) {  // made only where it is needed: most entries are unchanged
      from_index = {.path = {}, .mode = entry.mode, .id = entry.id};
      head = &from_index;
    } else {
      head = head_file(path);
      found_.dirty |= head == nullptr || head->mode != entry.mode || head->id != entry.id || entry.intent_to_add;
    }
    if (as_head && is_unchanged(entry, path)) return;
    Change change = change_from(head, path);
    found_.dirty |= in_work_tree(entry, path, change);
    add(std::move(change));
  }

  // The quick answer.
  bool is_unchanged(const os::GitIndexEntry& entry, std::string_view path) {
    if (entry.type() == os::kGitSubmodule || entry.intent_to_add) return false;
    if (entry.assume_valid) return true;
    const auto info = files_.status(path);
    return info ? unchanged(entry, *info) : is_passed_over(entry);
  }

  // Not checked out on purpose. With a sparse checkout a file that is there all the same counts again.
  bool is_passed_over(const os::GitIndexEntry& entry) const { return entry.skip_worktree; }

  bool unchanged(const os::GitIndexEntry& entry, const struct ::stat& info) {
    if (entry.skip_worktree && !files_.settings().sparse_checkout) return true;
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) return false;
    if (files_.mode_of(info, entry.mode) != entry.mode) return false;
    return is_as_recorded(entry, info) && !is_racy(entry, index_.written_seconds()) &&
           (entry.size != 0 || entry.id == empty_blob());
  }

  // Fills in what the work tree has at `path`; true if that is not what the index has.
  bool in_work_tree(const os::GitIndexEntry& entry, std::string_view path, Change& change) {
    change.new_mode = entry.mode;
    change.new_id = entry.id;
    if (entry.type() == os::kGitSubmodule) return submodules_.compare(entry, path, files_.status(path), change);
    if (entry.assume_valid && !entry.intent_to_add) return false;
    const auto info = files_.status(path);
    if (!info && is_passed_over(entry)) return false;
    if (!info || (!S_ISREG(info->st_mode) && !S_ISLNK(info->st_mode))) {
      change.new_mode = 0;
      change.new_id.reset();
      return true;
    }
    if (!entry.intent_to_add && unchanged(entry, *info)) return false;
    change.new_mode = files_.mode_of(*info, entry.mode);
    change.new_id.reset();
    const bool mode_changed = change.new_mode != entry.mode || entry.intent_to_add;
    // As git: another size is another content, before any conversion; except where git has never looked.
    if (!mode_changed && entry.size != 0 && entry.size != static_cast<std::uint32_t>(info->st_size)) return true;
    if (auto id = files_.id_of_file(path, change.new_mode)) change.new_id = *id;
    return mode_changed || change.new_id != entry.id;
  }

  // Stages 1 to 3 of one path; returns the index behind them.
  std::size_t conflict(std::size_t at, std::size_t end) {
    const os::GitIndexEntry& first = index_.entries()[at];
    std::uint32_t mode = first.mode;
    for (; at < end && index_.entries()[at].path == first.path; ++at)
      if (index_.entries()[at].stage == 2) mode = index_.entries()[at].mode;  // ours
    found_.dirty = true;
    Change change = change_from(head_file(first.path), first.path);
    change.conflict = true;
    const auto info = files_.status(first.path);
    if (info && (S_ISREG(info->st_mode) || S_ISLNK(info->st_mode))) {
      change.new_mode = files_.mode_of(*info, mode);
      change.new_id = files_.id_of_file(first.path, change.new_mode);
    } else if (info && (mode & os::kGitTypeMask) == os::kGitSubmodule) {
      return at;  // git says no more of it either
    }
    add(std::move(change));
    return at;
  }

  // A directory of a sparse index: nothing of it is checked out. If it is there all the same its files count.
  void sparse_directory(const os::GitIndexEntry& directory, bool as_head) {
    const std::string_view path = directory.path.substr(0, directory.path.size() - 1);
    const auto info = files_.status(path);
    const bool present = info && S_ISDIR(info->st_mode);
    if (as_head && !present) return;
    std::vector<HeadFile> inside;
    list_tree(objects_, directory.id, std::string(directory.path), inside);
    std::sort(inside.begin(), inside.end(), [](const HeadFile& a, const HeadFile& b) { return a.path < b.path; });
    for (const HeadFile& file : inside)
      tracked({.path = file.path, .mode = file.mode, .id = file.id, .skip_worktree = true}, file.path, as_head);
  }

  const Objects& objects_;
  WorkFiles& files_;
  const os::GitIndex& index_;
  Submodules submodules_;
  HeadFiles head_;
  std::size_t next_head_ = 0;
  Changes found_;
};

// libgit2 1.5 refuses a sparse index, and reads it where attributes are asked for: it is given one without the
// directories.
void give_index(git_repository* repository, const os::GitIndex& index) {
  git_index* raw = nullptr;
  check(git_index_new(&raw), "an index");
  const std::unique_ptr<git_index, Releaser<git_index_free>> plain(raw);
  for (const os::GitIndexEntry& entry : index.entries()) {
    if (entry.type() == os::kGitTree || entry.stage != 0) continue;
    const std::string path(entry.path);
    git_index_entry copy{};
    copy.mode = entry.mode;
    copy.id = oid_of(entry.id);
    copy.path = path.c_str();
    git_index_add(raw, &copy);  // one that it refuses is one whose line ends are not known
  }
  check(git_repository_set_index(repository, raw), "an index");
}

}  // namespace

Changes find_changes(const OpenRepository& repository, const Objects& objects, WorkFiles& files,
                     const std::optional<os::GitId>& head_tree, const std::string& scope, const HasUntracked& untracked,
                     int depth) {
  const os::GitIndex index = os::GitIndex::read(repository.files.directory / "index");
  if (index.sparse()) give_index(repository.handle.get(), index);
  return Search(repository, objects, files, index, untracked, depth).run(head_tree, scope);
}

}  // namespace runner::git
