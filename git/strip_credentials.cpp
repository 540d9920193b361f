#include <algorithm>
#include <cctype>
#include <string_view>

#include "git/git_state.hpp"

namespace runner::git {
namespace {

bool is_scheme_char(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
}

bool is_port(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "user:password@host/path", what follows "scheme://".
std::string strip_rest(std::string_view rest, bool keep_user) {
  std::size_t authority_end = std::min(rest.find_first_of("/?#"), rest.size());
  // "user:pa/ss@host": no valid URL, but a password all the same.
  const std::size_t colon = rest.find(':');
  if (colon < authority_end && !is_port(rest.substr(colon + 1, authority_end - colon - 1)) &&
      rest.substr(0, authority_end).find('@') == std::string_view::npos && rest.find('@') != std::string_view::npos)
    authority_end = std::min(rest.find_first_of("/?#", rest.rfind('@')), rest.size());
  const std::size_t at = rest.substr(0, authority_end).rfind('@');
  if (at == std::string_view::npos) return std::string(rest);
  std::string stripped;
  if (keep_user) stripped = std::string(rest.substr(0, std::min(rest.find(':'), at))) + "@";
  return stripped.append(rest.substr(at + 1));
}

// "user:password@host:path" has no scheme; "user@host:path" and a Windows or Unix path have nothing to hide.
std::string strip_scp_like(const std::string& url) {
  const std::size_t at = url.substr(0, url.find('/')).rfind('@');
  if (at == std::string::npos) return url;
  const std::size_t colon = url.find(':');
  return colon < at ? url.substr(0, colon) + url.substr(at) : url;
}

}  // namespace

std::string strip_credentials(const std::string& url) {
  const std::size_t mark = url.find("://");
  if (mark == std::string::npos) return strip_scp_like(url);
  std::size_t scheme_at = mark;
  while (scheme_at > 0 && is_scheme_char(url[scheme_at - 1])) --scheme_at;
  std::string scheme = url.substr(scheme_at, mark - scheme_at);
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const bool keep_user = scheme.find("ssh") != std::string::npos;
  std::string rest = strip_rest(std::string_view(url).substr(mark + 3), keep_user);
  // "a@b:c/d@e": what is left may look like one with a password again.
  for (std::string next = strip_rest(rest, keep_user); next != rest; next = strip_rest(rest, keep_user)) rest = next;
  if (scheme == "http" || scheme == "https") rest = rest.substr(0, rest.find_first_of("?#"));  // ?private_token=…
  return url.substr(0, mark + 3) + rest;  // in front of the scheme there may be a helper's name: "codecommit::"
}

}  // namespace runner::git
