#include "git/submodule.hpp"

#include <algorithm>
#include <utility>

#include "git/changes.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::git {
namespace {

constexpr int kMaxDepth = 16;                                // of submodules in submodules
constexpr std::size_t kModulesLimit = std::size_t{4} << 20;  // bytes of .gitmodules

template <typename Take>
void for_each_submodule_key(git_config* config, const Take& take) {
  git_config_iterator* raw = nullptr;
  if (git_config_iterator_new(&raw, config) != 0) return;
  const ConfigIterator iterator(raw);
  git_config_entry* entry = nullptr;
  while (git_config_next(&entry, iterator.get()) == 0) {
    std::string_view key = entry->name;
    if (!key.starts_with("submodule.") || entry->value == nullptr) continue;
    key.remove_prefix(10);
    const std::size_t dot = key.rfind('.');
    if (dot != std::string_view::npos) take(std::string(key.substr(0, dot)), key.substr(dot + 1), entry->value);
  }
}

std::string_view trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

// Quotes and backslashes undone, up to a comment.
std::string unquoted(std::string_view raw) {
  std::string value;
  bool quoted = false;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '\\' && i + 1 < raw.size())
      value.push_back(raw[++i]);
    else if (raw[i] == '"')
      quoted = !quoted;
    else if (!quoted && (raw[i] == '#' || raw[i] == ';'))
      break;
    else
      value.push_back(raw[i]);
  }
  return std::string(quoted ? value : trimmed(value));
}

// The keys of .gitmodules, as git writes it: a section or a key a line. libgit2 would follow includes, which git does
// not do here.
template <typename Take>
void for_each_module_key(const std::string& text, const Take& take) {
  constexpr std::string_view kSection = "[submodule \"";
  std::string name;
  bool inside = false;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = trimmed(std::string_view(text).substr(begin, end - begin));
    begin = end + 1;
    if (line.starts_with('[')) {
      inside = line.starts_with(kSection) && line.ends_with("\"]");
      if (inside) name = unquoted(line.substr(kSection.size() - 1, line.size() - kSection.size()));
    } else if (const std::size_t equals = line.find('='); inside && equals != std::string_view::npos) {
      take(name, trimmed(line.substr(0, equals)), unquoted(trimmed(line.substr(equals + 1))));
    }
  }
}

}  // namespace

void Submodules::read_ignores() {
  ignores_read_ = true;
  const auto parsed = [](std::string_view value) {
    if (value == "all") return Ignore::kAll;
    if (value == "dirty") return Ignore::kDirty;
    return value == "untracked" ? Ignore::kUntracked : Ignore::kNone;
  };
  std::map<std::string, std::string> path_of;  // by name
  std::map<std::string, Ignore> by_name;
  const auto file = repository_.root / ".gitmodules";
  std::string trouble;
  struct ::stat info {};
  if (!os::is_readable_to_its_end(file, trouble, kModulesLimit)) throw Unreadable{trouble};
  if (::lstat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;  // git refuses a link, too
  for_each_module_key(os::read_file(file, kModulesLimit),
                      [&](const std::string& name, std::string_view key, const std::string& value) {
                        if (key == "path") path_of[name] = value;
                        if (key == "ignore") by_name[name] = parsed(value);
                      });
  git_config* raw = nullptr;
  check(git_repository_config_snapshot(&raw, repository_.handle.get()), "its configuration");
  const Config config(raw);
  for_each_submodule_key(raw, [&](const std::string& name, std::string_view key, const char* value) {
    if (key == "ignore") by_name[name] = parsed(value);
  });
  const char* value = nullptr;
  if (git_config_get_string(&value, raw, "diff.ignoresubmodules") == 0) general_ = parsed(value);
  for (const auto& [name, ignore] : by_name)
    if (path_of.contains(name)) ignores_[path_of[name]] = ignore;
}

Submodules::Ignore Submodules::ignore_of(std::string_view path) {
  if (!ignores_read_) read_ignores();
  const auto at = ignores_.find(path);
  return at == ignores_.end() ? general_ : at->second;
}

bool Submodules::has_changes(const OpenRepository& submodule, Ignore ignore) {
  if (depth_ >= kMaxDepth) return false;
  const Head head = read_head(submodule);
  const Objects objects(submodule);
  WorkFiles files(submodule);
  std::optional<os::GitId> tree;
  if (head.commit) tree = objects.tree_of(*head.commit);
  if (find_changes(submodule, objects, files, tree, "", untracked_, depth_ + 1).dirty) return true;
  return ignore != Ignore::kUntracked && untracked_ && untracked_(submodule.root);
}

bool Submodules::compare(const os::GitIndexEntry& entry, std::string_view path,
                         const std::optional<struct ::stat>& info, Change& change) {
  const Ignore ignore = ignore_of(path);
  if (ignore == Ignore::kAll || entry.assume_valid) return false;
  if (!info && entry.skip_worktree) return false;
  if (!info || !S_ISDIR(info->st_mode)) {
    change.new_mode = 0;
    change.new_id.reset();
    return true;
  }
  const auto submodule = open_submodule(repository_.root / path);
  if (!submodule) return false;  // not initialised
  const Head head = read_head(*submodule);
  if (head.commit) change.new_id = *head.commit;
  if (ignore != Ignore::kDirty) change.submodule_dirty = has_changes(*submodule, ignore);
  return change.new_id != entry.id || change.submodule_dirty;
}

}  // namespace runner::git
