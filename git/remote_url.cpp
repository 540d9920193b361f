// Read from the configuration itself: git_remote_list and git_remote_lookup of libgit2 1.5 match every key with a
// regular expression and leak 20 KB for each that does not (git_regexp_match forgets its match data), which a daemon
// feels.
#include "git/remote_url.hpp"

#include <string_view>
#include <utility>
#include <vector>

namespace runner::git {
namespace {

struct Remotes {
  std::vector<std::pair<std::string, std::string>> urls;      // name and URL, in the configuration's order
  std::vector<std::pair<std::string, std::string>> rewrites;  // prefix and what replaces it
  std::string upstream;                                       // of the branch; may be a URL itself

  std::optional<std::string> url_of(std::string_view name) const {
    for (const auto& [known, url] : urls)
      if (known == name) return url;
    return std::nullopt;
  }
};

// "remote.my.name.url" → "my.name"; nothing if the key is another.
std::optional<std::string> subsection(std::string_view key, std::string_view section, std::string_view variable) {
  if (key.size() <= section.size() + variable.size() || !key.starts_with(section) || !key.ends_with(variable))
    return std::nullopt;
  key.remove_prefix(section.size());
  key.remove_suffix(variable.size());
  return std::string(key);
}

Remotes read_remotes(git_repository* repository, const std::optional<std::string>& branch) {
  Remotes remotes;
  git_config* raw_config = nullptr;
  if (git_repository_config_snapshot(&raw_config, repository) != 0) return remotes;
  const Config config(raw_config);
  git_config_iterator* raw_iterator = nullptr;
  if (git_config_iterator_new(&raw_iterator, config.get()) != 0) return remotes;
  const ConfigIterator iterator(raw_iterator);
  git_config_entry* entry = nullptr;
  while (git_config_next(&entry, iterator.get()) == 0) {
    const std::string_view key = entry->name;
    const std::string value = entry->value != nullptr ? entry->value : "";
    if (value.empty()) continue;
    if (auto name = subsection(key, "remote.", ".url")) {
      if (!remotes.url_of(*name)) remotes.urls.emplace_back(std::move(*name), value);
    } else if (auto base = subsection(key, "url.", ".insteadof")) {
      remotes.rewrites.emplace_back(value, std::move(*base));
    } else if (branch && subsection(key, "branch.", ".remote") == branch) {
      remotes.upstream = value;
    }
  }
  return remotes;
}

// Whether "user:password@" would stand in the path once the first `length` bytes are replaced by `base`: nobody looks
// for a password there.
bool hides_credentials(std::string_view url, std::size_t length, std::string_view base) {
  const std::size_t scheme = url.find("://");
  const std::size_t from = scheme == std::string_view::npos ? 0 : scheme + 3;
  const std::size_t at = url.find('@', from);
  if (at == std::string_view::npos || length > at) return false;
  return length != from || !base.ends_with("://");
}

// The longest prefix wins.
std::string rewrite(const Remotes& remotes, const std::string& url) {
  const std::pair<std::string, std::string>* best = nullptr;
  for (const auto& candidate : remotes.rewrites)
    if (url.starts_with(candidate.first) && (best == nullptr || candidate.first.size() > best->first.size()))
      best = &candidate;
  if (best == nullptr || hides_credentials(url, best->first.size(), best->second)) return url;
  return best->second + url.substr(best->first.size());
}

std::optional<std::string> choose(const Remotes& remotes) {
  if (!remotes.upstream.empty() && remotes.upstream != ".") {
    if (auto url = remotes.url_of(remotes.upstream)) return url;
    if (remotes.upstream.find(':') != std::string::npos) return remotes.upstream;
  }
  if (auto url = remotes.url_of("origin")) return url;
  if (!remotes.urls.empty()) return remotes.urls.front().second;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> remote_url(git_repository* repository, const std::optional<std::string>& branch) {
  const Remotes remotes = read_remotes(repository, branch);
  const auto url = choose(remotes);
  return url ? std::optional(rewrite(remotes, *url)) : std::nullopt;
}

}  // namespace runner::git
