#include "envs/artefact_name.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

#include "envs/specification_files.hpp"

namespace runner::envs {
namespace {

constexpr std::string_view kWheel = ".whl";
constexpr std::array<std::string_view, 9> kSources{".tar.gz", ".tgz", ".tar.bz2", ".tbz",     ".tar.xz",
                                                   ".txz",    ".tlz", ".zip",     ".tar.lzma"};

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (;;) {
    const auto end = text.find(at);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

bool is_archive(std::string_view file_name) {
  return file_name.ends_with(kWheel) ||
         std::any_of(kSources.begin(), kSources.end(), [&](auto ending) { return file_name.ends_with(ending); });
}

std::optional<ArtefactName> artefact_name(std::string_view file_name) {
  if (file_name.ends_with(kWheel)) {
    const auto parts = split(file_name.substr(0, file_name.size() - kWheel.size()), '-');
    if (parts.size() != 5 && parts.size() != 6) return std::nullopt;  // the sixth: a build number
    const auto tags = parts.size() - 3;
    return ArtefactName{.name = normalised_name(parts[0]),
                        .version = parts[1],
                        .tags = parts[tags] + "-" + parts[tags + 1] + "-" + parts[tags + 2]};
  }
  for (const auto ending : kSources) {
    if (!file_name.ends_with(ending)) continue;
    const auto stem = file_name.substr(0, file_name.size() - ending.size());
    const auto dash = stem.rfind('-');
    if (dash == std::string_view::npos || dash == 0 || dash + 1 == stem.size()) return std::nullopt;
    // "1.0.zip" of a code host is named after a tag or a branch.
    if (std::isdigit(static_cast<unsigned char>(stem[dash + 1])) == 0) return std::nullopt;
    return ArtefactName{
        .name = normalised_name(stem.substr(0, dash)), .version = std::string(stem.substr(dash + 1)), .tags = {}};
  }
  return std::nullopt;
}

std::set<std::string> expanded_tags(std::string_view tags) {
  std::set<std::string> result;
  const auto parts = split(tags, '-');
  if (parts.size() != 3) return result;
  for (const auto& python : split(parts[0], '.'))
    for (const auto& abi : split(parts[1], '.'))
      for (const auto& platform : split(parts[2], '.')) result.insert(python + "-" + abi + "-" + platform);
  return result;
}

std::string percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      result += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::string file_name_of(std::string_view url) {
  const std::string path = percent_decoded(url.substr(0, url.find_first_of("?#")));
  return path.substr(path.rfind('/') + 1);  // no "%2F" leads out of a directory
}

std::string file_url(std::string_view absolute_path) {
  constexpr std::string_view kPlain = "/-._~+!";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string url = "file://";
  for (const char c : absolute_path) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || kPlain.find(c) != std::string_view::npos)
      url += c;
    else
      url += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return url;
}

std::optional<std::string> path_of_file_url(std::string_view url) {
  constexpr std::string_view kScheme = "file://";
  if (!url.starts_with(kScheme)) return std::nullopt;
  url.remove_prefix(kScheme.size());
  url = url.substr(0, url.find_first_of("?#"));
  if (url.starts_with("localhost/")) url.remove_prefix(std::string_view("localhost").size());
  if (!url.starts_with('/')) return std::nullopt;
  return percent_decoded(url);
}

}  // namespace runner::envs
