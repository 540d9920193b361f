#include "envs/conda_channel.hpp"

#include <utility>

#include "runner/core/error.hpp"

namespace runner::envs {

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
  constexpr std::string_view kToken = "/t/";
  StrippedUrl stripped = without_credentials(url);
  const auto scheme = stripped.url.find("://");
  if (scheme == std::string::npos || stripped.url.starts_with("file:")) return stripped;
  const auto path = stripped.url.find('/', scheme + 3);
  if (path == std::string::npos || stripped.url.compare(path, kToken.size(), kToken) != 0) return stripped;
  const auto end = stripped.url.find('/', path + kToken.size());
  if (end == std::string::npos || stripped.url[path + kToken.size()] == '$') return stripped;
  stripped.url.erase(path, end - path);
  stripped.had_credentials = true;
  return stripped;
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
