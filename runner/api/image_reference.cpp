#include "runner/api/image_reference.hpp"

#include <algorithm>
#include <string_view>

#include "runner/core/error.hpp"

namespace runner::api {
namespace {

constexpr std::size_t kMostName = 255;    // distribution/reference: NameTotalLengthMax
constexpr std::size_t kMostTag = 128;     // [\w][\w.-]{0,127}
constexpr std::size_t kIdDigits = 64;     // SHA-256
constexpr std::size_t kLeastDigest = 32;  // hex digits of any algorithm

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alphanumeric(char c) { return is_digit(c) || is_lower(c) || is_upper(c); }

template <class Accept>
bool all(std::string_view text, Accept accept) {
  return std::all_of(text.begin(), text.end(), accept);
}

bool is_hex(std::string_view text) {
  return all(text, [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

std::string lowered(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// HOST[:PORT]: the part before the first slash, when it can only be one (docker's rule).
bool is_host(std::string_view first) {
  return first.find_first_of(".:") != std::string_view::npos || first == "localhost" || lowered(first) != first;
}

bool legal_host(std::string_view host) {
  std::string_view name = host;
  if (name.starts_with('[')) {  // an IPv6 address
    const auto end = name.find(']');
    if (end == std::string_view::npos || end < 2) return false;
    const auto address = name.substr(1, end - 1);
    if (!all(address, [](char c) { return is_alphanumeric(c) || c == ':'; })) return false;
    name = name.substr(end + 1);
    return name.empty() || (name.size() > 1 && name[0] == ':' && all(name.substr(1), is_digit));
  }
  if (const auto colon = name.find(':'); colon != std::string_view::npos) {
    const auto port = name.substr(colon + 1);
    if (port.empty() || !all(port, is_digit)) return false;
    name = name.substr(0, colon);
  }
  while (true) {  // components of letters, digits and inner hyphens
    const auto dot = name.find('.');
    const auto part = name.substr(0, dot);
    if (part.empty() || part.front() == '-' || part.back() == '-' ||
        !all(part, [](char c) { return is_alphanumeric(c) || c == '-'; }))
      return false;
    if (dot == std::string_view::npos) return true;
    name = name.substr(dot + 1);
  }
}

// Lowercase letters and digits, with '.', '_', '__' or hyphens between them.
bool legal_component(std::string_view part) {
  const auto plain = [](char c) { return is_digit(c) || is_lower(c); };
  if (part.empty() || !plain(part.front()) || !plain(part.back())) return false;
  for (std::size_t at = 0; at < part.size();) {
    if (plain(part[at])) {
      ++at;
      continue;
    }
    const char separator = part[at];
    std::size_t length = 0;
    while (at + length < part.size() && part[at + length] == separator) ++length;
    const std::size_t most = separator == '-' ? part.size() : separator == '_' ? 2 : separator == '.' ? 1 : 0;
    if (length > most || !plain(part[at + length])) return false;
    at += length;
  }
  return true;
}

bool legal_path(std::string_view path) {
  while (true) {
    const auto slash = path.find('/');
    if (!legal_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path = path.substr(slash + 1);
  }
}

bool legal_tag(std::string_view tag) {
  const auto word = [](char c) { return is_alphanumeric(c) || c == '_'; };
  return !tag.empty() && tag.size() <= kMostTag && word(tag.front()) &&
         all(tag, [&](char c) { return word(c) || c == '.' || c == '-'; });
}

bool legal_digest(std::string_view digest) {
  const auto colon = digest.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const auto algorithm = digest.substr(0, colon);
  const auto hex = digest.substr(colon + 1);
  return is_alphanumeric(algorithm.front()) && is_hex(hex) && hex.size() >= kLeastDigest &&
         all(algorithm, [](char c) { return is_alphanumeric(c) || c == '+' || c == '.' || c == '_' || c == '-'; }) &&
         (algorithm != "sha256" || hex.size() == kIdDigits);
}

}  // namespace

void check_image_reference(const std::string& text, const std::string& what) {
  const auto wrong = [&](const std::string& why, const std::string& way_out) {
    return Error(ErrorCode::kInvalid, what + " " + text + ": " + why, way_out);
  };
  const char* form = "write NAME[:TAG], HOST/NAME[:TAG] or NAME@sha256:…";
  if (text.empty()) throw Error(ErrorCode::kInvalid, what + ": no image is named", form);
  if (text.starts_with("sha256:")) {
    if (text.size() != 7 + kIdDigits || !is_hex(std::string_view(text).substr(7)))
      throw wrong("an image's id is sha256: and 64 hex digits", "docker images --no-trunc lists them");
    return;
  }
  std::string_view name = text;
  if (const auto at = name.find('@'); at != std::string_view::npos) {
    if (!legal_digest(name.substr(at + 1)))
      throw wrong("not a digest after the @", "write NAME@sha256:… with 64 hex digits");
    name = name.substr(0, at);
  }
  const auto slash = name.rfind('/');
  const auto colon = name.rfind(':');
  if (colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash)) {
    if (!legal_tag(name.substr(colon + 1)))
      throw wrong("not a tag after the colon", "a tag is at most 128 letters, digits, '_', '.' and '-'");
    name = name.substr(0, colon);
  }
  if (name.size() > kMostName) throw wrong("the name is longer than 255 characters", form);
  std::string_view path = name;
  std::string_view host;
  if (const auto first = name.find('/'); first != std::string_view::npos && is_host(name.substr(0, first))) {
    host = name.substr(0, first);
    path = name.substr(first + 1);
    if (!legal_host(host)) throw wrong("'" + std::string(host) + "' is no registry's address", form);
  }
  if (legal_path(path)) return;
  if (const std::string small = lowered(path); small != path && legal_path(small))
    throw wrong("the repository must be lowercase",
                "write " + std::string(host) + (host.empty() ? "" : "/") + small + text.substr(name.size()));
  throw wrong("not the name of an image", form);
}

}  // namespace runner::api
