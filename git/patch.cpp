// Headers are written here, in git's form with full ids; the hunks, and the base-85 of binary files, are libgit2's.
#include "git/patch.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "git/quoted_path.hpp"

namespace runner::git {
namespace {

// Of a file that is compared at all. Longer texts take seconds, and their difference seldom fits the limit.
constexpr std::size_t kFileLimit = std::size_t{16} << 20;
constexpr std::size_t kMaxMarks = 1000;  // of files left out; behind the limit, so that one is always there
const std::string kNoId(40, '0');

// One side of a file's change.
struct Version {
  std::uint32_t mode = 0;  // 0: there is none
  std::string id = kNoId;
  std::string content;
};

// Thrown and caught in this file: this file's change cannot be had.
struct LeaveOut {
  std::string why;
};

std::string octal(std::uint32_t mode) {
  std::string text(6, '0');
  for (std::size_t i = 0; i < 6; ++i) text[5 - i] = static_cast<char>('0' + (mode >> 3 * i & 7));
  return text;
}

// `git apply` takes a name's end from a tab where the name holds blanks.
std::string file_line(const char* mark, const char* prefix, const std::string& path) {
  const std::string name = quoted_path(path, prefix);
  return mark + name + (name.front() != '"' && name.find(' ') != std::string::npos ? "\t\n" : "\n");
}

// From the first "@@" or "GIT binary patch" on; empty for equal contents. `is_binary` says which.
std::string hunks_of(const Version& before, const Version& after, bool& is_binary) {
  is_binary = false;
  git_diff_options options{};
  git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
  options.flags = GIT_DIFF_SHOW_BINARY;
  git_patch* raw = nullptr;
  check(git_patch_from_buffers(&raw, before.content.data(), before.content.size(), "a", after.content.data(),
                               after.content.size(), "b", &options),
        "the difference");
  const Patch patch(raw);
  git_buf text{};
  check(git_patch_to_buf(&text, patch.get()), "the difference");
  const std::string whole(text.ptr != nullptr ? text.ptr : "", text.size);
  git_buf_dispose(&text);
  if (const std::size_t binary = whole.find("\nGIT binary patch\n"); binary < whole.find("\n@@ ")) {
    is_binary = true;
    return whole.substr(binary + 1);
  }
  const std::size_t first = whole.find("\n@@ ");
  return first == std::string::npos ? std::string() : whole.substr(first + 1);
}

std::string piece(const std::string& path, const Version& before, const Version& after) {
  std::string text = "diff --git " + quoted_path(path, "a/") + " " + quoted_path(path, "b/") + "\n";
  if (before.mode == 0) text += "new file mode " + octal(after.mode) + "\n";
  if (after.mode == 0) text += "deleted file mode " + octal(before.mode) + "\n";
  const bool both = before.mode != 0 && after.mode != 0;
  if (both && before.mode != after.mode)
    text += "old mode " + octal(before.mode) + "\nnew mode " + octal(after.mode) + "\n";
  if (both && before.id == after.id) return text;
  text += "index " + before.id + ".." + after.id;
  text += both && before.mode == after.mode ? " " + octal(after.mode) + "\n" : "\n";
  bool is_binary = false;
  const std::string hunks = hunks_of(before, after, is_binary);
  if (!is_binary && !hunks.empty()) {
    text += before.mode == 0 ? "--- /dev/null\n" : file_line("--- ", "a/", path);
    text += after.mode == 0 ? "+++ /dev/null\n" : file_line("+++ ", "b/", path);
  }
  return text + hunks;
}

std::string rename_piece(const std::string& from, const std::string& to, std::uint32_t old_mode,
                         std::uint32_t new_mode) {
  std::string text = "diff --git " + quoted_path(from, "a/") + " " + quoted_path(to, "b/") + "\n";
  if (old_mode != new_mode) text += "old mode " + octal(old_mode) + "\nnew mode " + octal(new_mode) + "\n";
  return text + "similarity index 100%\nrename from " + quoted_path(from) + "\nrename to " + quoted_path(to) + "\n";
}

std::string size_text(std::size_t bytes) {
  const std::size_t unit = bytes >= std::size_t{1} << 20 ? std::size_t{1} << 20 : 1024;
  const std::size_t tenths = (bytes * 10 + unit / 2) / unit;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + (unit == 1024 ? " KiB" : " MiB");
}

bool is_file(std::uint32_t mode) { return (mode & os::kGitTypeMask) == os::kGitFile; }
bool is_submodule(std::uint32_t mode) { return (mode & os::kGitTypeMask) == os::kGitSubmodule; }

class Rendering {
 public:
  Rendering(const Objects& objects, WorkFiles& files, std::size_t limit)
      : objects_(objects), files_(files), limit_(limit) {}

  RenderedPatch run(std::vector<Change> changes) {
    pair_renames(changes);
    for (std::size_t i = 0; i < changes.size(); ++i) {
      if (removed_by_rename_.contains(i)) continue;
      try {
        const auto renamed = renamed_from_.find(i);
        append(renamed == renamed_from_.end() ? text_of(changes[i])
                                              : text_of_rename(changes[renamed->second], changes[i]));
      } catch (const LeaveOut& trouble) {
        leave_out(changes[i], trouble.why);
      }
    }
    return std::move(rendered_);
  }

 private:
  // Only files that moved as they are: it spares the patch whole directories' contents, and cannot be wrong.
  void pair_renames(std::vector<Change>& changes) {
    std::multimap<os::GitId, std::size_t> removed;
    for (std::size_t i = 0; i < changes.size(); ++i)
      if (changes[i].new_mode == 0 && is_file(changes[i].old_mode)) removed.emplace(changes[i].old_id, i);
    if (removed.empty()) return;
    for (std::size_t i = 0; i < changes.size(); ++i) {
      Change& change = changes[i];
      if (change.old_mode != 0 || !is_file(change.new_mode)) continue;
      if (!change.new_id) change.new_id = files_.id_of_file(change.path, change.new_mode);
      const auto match = change.new_id ? removed.find(*change.new_id) : removed.end();
      if (match == removed.end()) continue;
      renamed_from_[i] = match->second;
      removed_by_rename_[match->second] = i;
      removed.erase(match);
    }
  }

  static std::string text_of_rename(const Change& from, const Change& to) {
    return rename_piece(from.path, to.path, from.old_mode, to.new_mode);
  }

  std::string text_of(const Change& change) {
    std::string mark;
    if (change.submodule_dirty)
      mark = "# runner: the submodule " + quoted_path(change.path) + " has uncommitted changes of its own\n";
    if (is_submodule(change.old_mode) && change.old_mode == change.new_mode && change.new_id == change.old_id)
      return mark;
    if (change.conflict) mark = "# runner: " + quoted_path(change.path) + " is in conflict\n";
    const Version none;
    const Version before = old_version(change);
    const Version after = new_version(change);
    const bool type_changed =
        before.mode != 0 && after.mode != 0 && (before.mode & os::kGitTypeMask) != (after.mode & os::kGitTypeMask);
    if (type_changed) return mark + piece(change.path, before, none) + piece(change.path, none, after);
    if (before.mode == after.mode && before.id == after.id) return mark;
    return mark + piece(change.path, before, after);
  }

  static std::string submodule_content(const os::GitId& id) { return "Subproject commit " + hex_of(id) + "\n"; }

  // Only the executable bit differs.
  static bool is_same_content(const Change& change) {
    return is_file(change.old_mode) && is_file(change.new_mode) && change.new_id == change.old_id;
  }

  Version old_version(const Change& change) {
    Version version{.mode = change.old_mode, .id = kNoId, .content = {}};
    if (change.old_mode == 0) return version;
    version.id = hex_of(change.old_id);
    if (is_submodule(change.old_mode)) {
      version.content = submodule_content(change.old_id);
    } else if (is_same_content(change)) {
      return version;  // only the mode: nobody reads the content
    } else {
      bool too_large = false;
      auto content = objects_.blob(change.old_id, kFileLimit, too_large);
      if (too_large) throw LeaveOut{"larger than " + size_text(kFileLimit) + " in the commit"};
      if (!content) throw LeaveOut{"its committed content is not here (a partial clone?)"};
      version.content = std::move(*content);
    }
    return version;
  }

  Version new_version(const Change& change) {
    Version version{.mode = change.new_mode, .id = kNoId, .content = {}};
    if (change.new_mode == 0) return version;
    if (is_submodule(change.new_mode)) {
      version.id = hex_of(*change.new_id);
      version.content = submodule_content(*change.new_id);
      return version;
    }
    if (is_same_content(change)) {
      version.id = hex_of(change.old_id);
      return version;
    }
    switch (files_.content_of(change.path, change.new_mode, kFileLimit, version.content)) {
      case WorkFiles::Content::kRead:
        break;
      case WorkFiles::Content::kGone:
        from_index(change, version);
        break;
      case WorkFiles::Content::kTooLarge:
        throw LeaveOut{size_of(change) + ", a file in the patch has at most " + size_text(kFileLimit)};
      case WorkFiles::Content::kFiltered:
        throw LeaveOut{"under a filter program of .gitattributes, which is not run"};
    }
    version.id = hex_of(blob_id(version.content));
    return version;
  }

  // Staged, and not in the work tree on purpose (skip-worktree).
  void from_index(const Change& change, Version& version) {
    bool too_large = false;
    auto content = change.new_id ? objects_.blob(*change.new_id, kFileLimit, too_large) : std::nullopt;
    if (!content) throw LeaveOut{too_large ? "larger than " + size_text(kFileLimit) : "it cannot be read"};
    version.content = std::move(*content);
  }

  std::string size_of(const Change& change) {
    const auto info = files_.status(change.path);
    return size_text(info ? static_cast<std::size_t>(info->st_size) : 0);
  }

  void append(const std::string& text) {
    if (text.empty()) return;
    if (rendered_.text.size() + text.size() > limit_)
      throw LeaveOut{size_text(text.size()) + " of changes, the patch has at most " + size_text(limit_)};
    rendered_.text += text;
    ++rendered_.files;
  }

  void leave_out(const Change& change, std::string why) {
    const auto info = files_.status(change.path);
    if (rendered_.left_out.size() < kMaxMarks)
      rendered_.text += "# runner: left out: " + quoted_path(change.path) + ": " + why + "\n";
    if (rendered_.left_out.size() == kMaxMarks) rendered_.text += "# runner: left out: more files\n";
    rendered_.left_out.push_back(
        {.path = change.path, .why = std::move(why), .bytes = info ? static_cast<std::int64_t>(info->st_size) : 0});
  }

  const Objects& objects_;
  WorkFiles& files_;
  const std::size_t limit_;
  std::map<std::size_t, std::size_t> renamed_from_;       // added → removed
  std::map<std::size_t, std::size_t> removed_by_rename_;  // removed → added
  RenderedPatch rendered_;
};

}  // namespace

RenderedPatch render_patch(const Objects& objects, WorkFiles& files, const std::vector<Change>& changes,
                           std::size_t limit) {
  return Rendering(objects, files, limit).run(changes);
}

}  // namespace runner::git
