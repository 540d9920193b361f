#include "envs/conda_channel.hpp"

#include <algorithm>
#include <cctype>
#include <tuple>
#include <utility>

#include "envs/credentials.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

// "/t/TOKEN" of a channel: where it begins, and its length; 0: there is none.
std::pair<std::size_t, std::size_t> token_in(std::string_view url) {
  constexpr std::string_view kToken = "/t/";
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos || url.starts_with("file:")) return {};
  const auto path = url.find('/', scheme + 3);
  if (path == std::string_view::npos || url.compare(path, kToken.size(), kToken) != 0) return {};
  const auto end = url.find('/', path + kToken.size());
  if (end == std::string_view::npos || url[path + kToken.size()] == '$') return {};
  return {path, end - path};
}

bool is_scheme(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.'; }

// Where the URL ends that has its "://" at `at`.
std::size_t end_of_url(std::string_view spec, std::size_t begin, std::size_t at) {
  if (begin > 0) {
    const char before = spec[begin - 1];
    const auto end = before == '\'' || before == '"' ? spec.find(before, at) : spec.find_first_of(" \t,]", at);
    return std::min(end, spec.size());
  }
  const auto colons = spec.substr(0, spec.find('[')).rfind("::");
  return colons != std::string_view::npos && colons > at ? colons
                                                         : std::min(spec.find_first_of(" \t", at), spec.size());
}

}  // namespace

std::vector<std::string> effective_channels(const std::vector<std::string>& channels) {
  std::vector<std::string> result;
  for (const std::string& channel : channels) {
    if (channel == "defaults")  // conda's name for two of them
      result.insert(result.end(), {"https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"});
    else if (channel != "nodefaults")
      result.push_back(channel);
  }
  if (result.empty()) result.push_back("conda-forge");
  return result;
}

StrippedUrl without_channel_credentials(std::string_view url) {
  StrippedUrl stripped = without_credentials(url);
  // One behind the other: what is stored is stripped again when it is looked up, and must be the same then.
  for (auto [at, size] = token_in(stripped.url); size > 0; std::tie(at, size) = token_in(stripped.url)) {
    stripped.url.erase(at, size);
    stripped = {without_credentials(stripped.url).url, true};
  }
  return stripped;
}

std::string with_changed_urls(std::string_view spec, const std::function<std::string(const std::string& url)>& change) {
  std::string result;
  std::size_t done = 0;
  for (auto at = spec.find("://"); at != std::string_view::npos; at = spec.find("://", std::max(at + 3, done))) {
    auto begin = at;
    while (begin > done && is_scheme(spec[begin - 1])) --begin;
    const auto end = end_of_url(spec, begin, at);
    result += spec.substr(done, begin - done);
    result += change(std::string(spec.substr(begin, end - begin)));
    done = end;
  }
  return result + std::string(spec.substr(done));
}

std::string without_spec_credentials(std::string_view spec) {
  spec.remove_prefix(std::min(spec.find_first_not_of(" \t"), spec.size()));
  return with_changed_urls(spec, [](const std::string& url) { return without_channel_credentials(url).url; });
}

std::vector<std::string> channel_secrets(std::string_view url) {
  std::vector<std::string> found = secrets_in(url);
  constexpr std::size_t kMark = 3;  // "/t/"
  std::string plain = without_credentials(url).url;
  for (auto [at, size] = token_in(plain); size > 0; std::tie(at, size) = token_in(plain)) {
    if (size > kMark) add_secrets(found, {plain.substr(at + kMark, size - kMark)});
    plain.erase(at, size);
  }
  return found;
}

std::string with_credentials(const std::string& url, const std::map<std::string, std::string>& credentials) {
  const std::pair<const std::string, std::string>* best = nullptr;
  for (const auto& entry : credentials) {
    const std::string& known = entry.first;
    if (!url.starts_with(known) || (url.size() > known.size() && url[known.size()] != '/')) continue;
    if (best == nullptr || known.size() > best->first.size()) best = &entry;
  }
  return best == nullptr ? url : best->second + url.substr(best->first.size());
}

std::string with_variables(const std::string& url, const std::map<std::string, std::string>& variables) {
  std::string result;
  std::size_t begin = 0;
  for (auto at = url.find("${"); at != std::string::npos; at = url.find("${", begin)) {
    const auto end = url.find('}', at);
    if (end == std::string::npos) break;
    const std::string name = url.substr(at + 2, end - at - 2);
    const auto found = variables.find(name);
    if (found == variables.end())
      throw Error(ErrorCode::kInvalid, url + ": the variable " + name + " is not set", "set it where you submit");
    result += url.substr(begin, at - begin) + found->second;
    begin = end + 1;
  }
  return result + url.substr(begin);
}

}  // namespace runner::envs
