// libgit2 finds the lines that differ (xdiff, as git); the headers are our own, since from buffers it knows no modes.
#include "snapshot/code_diff.hpp"

#include <git2.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "runner/core/error.hpp"
#include "snapshot/renames.hpp"

namespace runner::snapshot {
namespace {

constexpr std::size_t kPiece = 64 * 1024;
constexpr int kShownDigits = 7;  // of a blob's id, as git abbreviates them

void ensure_libgit2() {
  static const int initialised = git_libgit2_init();
  static_cast<void>(initialised);
}

struct PatchDeleter {
  void operator()(git_patch* patch) const { git_patch_free(patch); }
};
using Patch = std::unique_ptr<git_patch, PatchDeleter>;

void check(int result, const std::string& path) {
  if (result >= 0) return;
  const git_error* error = git_error_last();
  throw Error(ErrorCode::kInternal, "compare " + path + ": " + (error != nullptr ? error->message : "libgit2 failed"));
}

// One side of a file.
struct Side {
  bool exists = false;
  bool loaded = false;  // small enough
  bool binary = false;
  std::string content;
};

Side load(const ContentReader& store, const std::optional<TreeEntry>& entry, const std::string& path) {
  Side side;
  if (!entry) return side;
  side.exists = true;
  if (entry->bytes > kMostTextBytes) {
    side.binary = true;
    return side;
  }
  try {
    side.content = store.read_all(entry->content);
  } catch (const Error& error) {  // an adapter's: says of which file
    throw error.within("read " + path);
  }
  side.loaded = true;
  side.binary = side.content.find('\0') != std::string::npos;
  return side;
}

Patch compare(const Side& before, const Side& after, const std::string& path) {
  git_diff_options options;
  check(git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION), path);
  options.flags |= GIT_DIFF_FORCE_TEXT | GIT_DIFF_INDENT_HEURISTIC;  // what is binary is decided above
  git_patch* made = nullptr;
  check(git_patch_from_buffers(&made, before.content.data(), before.content.size(), "a", after.content.data(),
                               after.content.size(), "b", &options),
        path);
  return Patch(made);
}

const char* mode_of(const TreeEntry& entry) {
  if (entry.type == EntryType::kSymlink) return "120000";
  return entry.type == EntryType::kExecutable ? "100755" : "100644";
}

// As git does with core.quotePath: in quotes, C's escapes, other bytes in octal.
std::string quoted(const std::string& path) {
  const auto special = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\';
  };
  if (std::none_of(path.begin(), path.end(), special)) return path;
  std::string text = "\"";
  for (const char c : path) {
    constexpr std::string_view kFrom = "\a\b\t\n\v\f\r\"\\";
    constexpr std::string_view kTo = "abtnvfr\"\\";
    if (const auto at = kFrom.find(c); at != std::string_view::npos) {
      text.append(1, '\\').append(1, kTo[at]);
    } else if (special(c)) {
      std::array<char, 5> octal{};
      std::snprintf(octal.data(), octal.size(), "\\%03o", static_cast<unsigned>(static_cast<unsigned char>(c)));
      text.append(octal.data());
    } else {
      text.push_back(c);
    }
  }
  return text + "\"";
}

// A blank in a name would end it: git closes such lines with a tab.
std::string header_name(const std::string& path) {
  const std::string name = quoted(path);
  return name.find(' ') == std::string::npos ? name : name + "\t";
}

std::string blob_id(const Side& side, const std::string& path) {
  if (!side.exists) return std::string(kShownDigits, '0');
  git_oid id;
  check(git_odb_hash(&id, side.content.data(), side.content.size(), GIT_OBJECT_BLOB), path);
  std::array<char, GIT_OID_HEXSZ + 1> text{};
  git_oid_tostr(text.data(), text.size(), &id);
  return {text.data(), kShownDigits};
}

class PatchWriter {
 public:
  PatchWriter(const ContentReader& store, const WriteSome& write) : store_(store), write_(write) {}

  void file(const std::string& old_path, const std::optional<TreeEntry>& old_entry, const std::string& new_path,
            const std::optional<TreeEntry>& new_entry, int similarity) {
    const std::string before_name = "a/" + old_path;
    const std::string after_name = "b/" + new_path;
    add("diff --git " + quoted(before_name) + " " + quoted(after_name) + "\n");
    if (!old_entry) add(std::string("new file mode ") + mode_of(*new_entry) + "\n");
    if (!new_entry) add(std::string("deleted file mode ") + mode_of(*old_entry) + "\n");
    const bool both = old_entry && new_entry;
    const bool same_mode = both && old_entry->type == new_entry->type;
    if (both && !same_mode)
      add(std::string("old mode ") + mode_of(*old_entry) + "\nnew mode " + mode_of(*new_entry) + "\n");
    if (old_path != new_path)
      add("similarity index " + std::to_string(similarity) + "%\nrename from " + quoted(old_path) + "\nrename to " +
          quoted(new_path) + "\n");
    if (both && old_entry->content == new_entry->content) return;
    const Side before = load(store_, old_entry, old_path);
    const Side after = load(store_, new_entry, new_path);
    if ((!before.exists || before.loaded) && (!after.exists || after.loaded))
      add("index " + blob_id(before, old_path) + ".." + blob_id(after, new_path) +
          (same_mode ? std::string(" ") + mode_of(*new_entry) : "") + "\n");
    const std::string from = old_entry ? before_name : "/dev/null";
    const std::string to = new_entry ? after_name : "/dev/null";
    if (before.binary || after.binary) return add("Binary files " + quoted(from) + " and " + quoted(to) + " differ\n");
    const Patch patch = compare(before, after, new_path);
    if (git_patch_num_hunks(patch.get()) == 0) return;
    add("--- " + header_name(from) + "\n+++ " + header_name(to) + "\n");
    hunks(patch.get(), new_path);
  }

  void flush() {
    if (!buffer_.empty()) write_(std::as_bytes(std::span(buffer_)));
    buffer_.clear();
  }

 private:
  void add(std::string_view text) {
    buffer_.append(text);
    if (buffer_.size() >= kPiece) flush();
  }

  void hunks(git_patch* patch, const std::string& path) {
    for (std::size_t h = 0; h < git_patch_num_hunks(patch); ++h) {
      const git_diff_hunk* hunk = nullptr;
      std::size_t lines = 0;
      check(git_patch_get_hunk(&hunk, &lines, patch, h), path);
      add({hunk->header, hunk->header_len});
      for (std::size_t l = 0; l < lines; ++l) {
        const git_diff_line* line = nullptr;
        check(git_patch_get_line_in_hunk(&line, patch, h, l), path);
        if (line->origin == GIT_DIFF_LINE_CONTEXT || line->origin == GIT_DIFF_LINE_ADDITION ||
            line->origin == GIT_DIFF_LINE_DELETION)
          add({&line->origin, 1});
        add({line->content, line->content_len});  // of "no newline at end of file": the whole remark
      }
    }
  }

  const ContentReader& store_;
  const WriteSome& write_;
  std::string buffer_;
};

bool is_file(const std::optional<TreeEntry>& entry) { return entry && entry->type != EntryType::kDirectory; }

bool is_empty_directory(const std::optional<TreeEntry>& entry) {
  static const Hash kEmpty = sha256(TreeEncoder().bytes());
  return entry && entry->type == EntryType::kDirectory && entry->content == kEmpty;
}

bool is_directory(const FileChange& change) {
  return (change.before ? change.before : change.after)->type == EntryType::kDirectory;
}

}  // namespace

std::vector<FileChange> changed_files(const ContentReader& store, const Hash& before, const Hash& after) {
  ensure_libgit2();
  std::vector<FileChange> changes;
  diff_trees(store, before, after, [&changes](const TreeChange& change) {
    const bool had = is_file(change.before);
    const bool has = is_file(change.after);
    if (had && has) {
      const bool was_link = change.before->type == EntryType::kSymlink;
      const bool is_link = change.after->type == EntryType::kSymlink;
      changes.push_back({.status = was_link == is_link ? ChangeStatus::kModified : ChangeStatus::kTypeChanged,
                         .path = change.path,
                         .old_path = {},
                         .before = change.before,
                         .after = change.after});
      return true;
    }
    if (had || is_empty_directory(change.before))
      changes.push_back({.status = ChangeStatus::kDeleted,
                         .path = change.path,
                         .old_path = {},
                         .before = change.before,
                         .after = std::nullopt});
    if (has || is_empty_directory(change.after))
      changes.push_back({.status = ChangeStatus::kAdded,
                         .path = change.path,
                         .old_path = {},
                         .before = std::nullopt,
                         .after = change.after});
    return true;
  });
  find_renames(store, changes);
  std::stable_sort(changes.begin(), changes.end(),
                   [](const FileChange& a, const FileChange& b) { return a.path < b.path; });
  return changes;
}

LineCounts count_lines(const ContentReader& store, const FileChange& change) {
  LineCounts counts;
  if (is_directory(change) || (change.before && change.after && change.before->content == change.after->content))
    return counts;
  ensure_libgit2();
  const Side before = load(store, change.before, change.old_path.empty() ? change.path : change.old_path);
  const Side after = load(store, change.after, change.path);
  counts.binary = before.binary || after.binary;
  if (counts.binary) return counts;
  const Patch patch = compare(before, after, change.path);
  std::size_t additions = 0;
  std::size_t deletions = 0;
  check(git_patch_line_stats(nullptr, &additions, &deletions, patch.get()), change.path);
  counts.additions = static_cast<std::int64_t>(additions);
  counts.deletions = static_cast<std::int64_t>(deletions);
  return counts;
}

void write_patch(const ContentReader& store, const FileChange& change, const WriteSome& write) {
  if (is_directory(change)) return;
  ensure_libgit2();
  PatchWriter writer(store, write);
  const std::string& old_path = change.old_path.empty() ? change.path : change.old_path;
  if (change.status == ChangeStatus::kTypeChanged) {  // git takes a file for another thing than a link
    writer.file(old_path, change.before, old_path, std::nullopt, 0);
    writer.file(change.path, std::nullopt, change.path, change.after, 0);
  } else {
    writer.file(old_path, change.before, change.path, change.after, change.similarity);
  }
  writer.flush();
}

}  // namespace runner::snapshot
