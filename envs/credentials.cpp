#include "envs/credentials.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "envs/artefact_name.hpp"

namespace runner::envs {
namespace {

// Parameters of a query by the end of their name.
constexpr std::array<std::string_view, 13> kSecretEndings{"token",      "secret",     "password", "passwd", "signature",
                                                          "apikey",     "api_key",    "api-key",  "auth",   "accesskey",
                                                          "access_key", "credential", "-key"};
constexpr std::array<std::string_view, 7> kSecretNames{"sig", "key", "sas", "jwt", "pass", "pwd", "authorization"};
constexpr std::array<std::string_view, 4> kSigned{"x-amz-", "x-goog-", "x-ms-", "x-oss-"};
// They belong to a signature and are as good as new with the next one; alone they may mean anything.
constexpr std::array<std::string_view, 23> kBesideSignature{"se",
                                                            "sp",
                                                            "st",
                                                            "sv",
                                                            "sr",
                                                            "spr",
                                                            "srt",
                                                            "ss",
                                                            "si",
                                                            "sip",
                                                            "skoid",
                                                            "sktid",
                                                            "skt",
                                                            "ske",
                                                            "sks",
                                                            "skv",
                                                            "sdd",
                                                            "scid",
                                                            "expires",
                                                            "policy",
                                                            "key-pair-id",
                                                            "awsaccesskeyid",
                                                            "googleaccessid"};
// Users who are the same for everybody.
constexpr std::array<std::string_view, 6> kEverybody{"git",         "aws", "oauth2", "__token__", "x-access-token",
                                                     "x-token-auth"};
// Shorter names are no tokens, and hiding them would hide half of the log.
constexpr std::size_t kShortestToken = 8;

template <std::size_t N>
bool is_one_of(const std::array<std::string_view, N>& all, std::string_view text) {
  return std::find(all.begin(), all.end(), text) != all.end();
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// "${NAME}", as pip expands it.
bool is_variable(std::string_view text) {
  if (!text.starts_with("${") || !text.ends_with("}")) return false;
  return std::all_of(text.begin() + 2, text.end() - 1, [](char c) {
    return std::isupper(static_cast<unsigned char>(c)) != 0 || std::isdigit(static_cast<unsigned char>(c)) != 0 ||
           c == '_';
  });
}

struct UserInfo {
  std::string_view user{};
  std::string_view password{};
};

UserInfo taken_apart(std::string_view user_info) {
  const auto colon = user_info.find(':');
  if (colon == std::string_view::npos) return {.user = user_info};
  return {.user = user_info.substr(0, colon), .password = user_info.substr(colon + 1)};
}

bool is_ssh(std::string_view written) {
  const std::string scheme = lower(written);
  return scheme == "ssh" || scheme.ends_with("+ssh");
}

// Whether "user", "user:password" holds something to hide. A user alone is a name for SSH and a token for everything
// else.
bool is_secret(std::string_view scheme, std::string_view user_info) {
  const auto [user, password] = taken_apart(user_info);
  if (!password.empty()) return !is_variable(password);
  return !is_ssh(scheme) && !user.empty() && !is_variable(user);
}

struct Parameter {
  std::string_view text{};  // "name=value"
  std::string name{};       // in lower case
  std::string_view value{};
};

std::vector<Parameter> parameters_of(std::string_view query) {
  std::vector<Parameter> all;
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const std::string_view text = query.substr(0, end);
    const auto equals = std::min(text.find('='), text.size());
    all.push_back(
        {.text = text, .name = lower(text.substr(0, equals)), .value = text.substr(std::min(equals + 1, text.size()))});
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return all;
}

// "?key=NAME-1.0.whl" names a file.
bool is_secret(const Parameter& parameter) {
  if (parameter.value.empty() || is_variable(parameter.value) || is_archive(parameter.value)) return false;
  const auto begins = [&](std::string_view beginning) { return parameter.name.starts_with(beginning); };
  const auto ends = [&](std::string_view ending) { return parameter.name.ends_with(ending); };
  return is_one_of(kSecretNames, parameter.name) || std::any_of(kSigned.begin(), kSigned.end(), begins) ||
         std::any_of(kSecretEndings.begin(), kSecretEndings.end(), ends);
}

// Where the query is, without its '?'; empty: there is none. Of other schemes nobody signs one.
std::string_view query_of(std::string_view url) {
  const std::string scheme = lower(url.substr(0, url.find("://")));
  if (!scheme.ends_with("http") && !scheme.ends_with("https")) return {};
  url = url.substr(0, url.find('#'));
  const auto mark = url.find('?');
  return mark == std::string_view::npos ? std::string_view() : url.substr(mark + 1);
}

std::string_view user_info_of(std::string_view url) {
  const auto scheme = url.find("://");
  if (scheme == std::string_view::npos) return {};
  const auto authority = url.substr(scheme + 3, url.find_first_of("/?#", scheme + 3) - scheme - 3);
  const auto at = authority.rfind('@');
  return at == std::string_view::npos ? std::string_view() : authority.substr(0, at);
}

StrippedUrl without_user_info(std::string_view url) {
  const std::string_view info = user_info_of(url);
  const auto scheme = url.substr(0, url.find("://"));
  if (info.empty() || !is_secret(scheme, info)) return {std::string(url), false};
  const auto begin = scheme.size() + 3;
  return {std::string(url.substr(0, begin)) + std::string(url.substr(begin + info.size() + 1)), true};
}

StrippedUrl without_secret_parameters(StrippedUrl result) {
  const std::string_view query = query_of(result.url);
  const auto parameters = parameters_of(query);
  if (std::none_of(parameters.begin(), parameters.end(), [](const auto& one) { return is_secret(one); })) return result;
  std::string kept;
  for (const Parameter& parameter : parameters)
    if (!is_secret(parameter) && !is_one_of(kBesideSignature, parameter.name))
      kept += (kept.empty() ? "?" : "&") + std::string(parameter.text);
  const auto mark = static_cast<std::size_t>(query.data() - result.url.data()) - 1;
  const auto size = query.size() + 1;
  result.url.replace(mark, size, kept);
  result.had_credentials = true;
  return result;
}

}  // namespace

StrippedUrl without_credentials(std::string_view url) {
  StrippedUrl result{std::string(url), false};
  // What is left may look like one with credentials again ("?token=a" ends the host, "&b@" behind it does not), and
  // what is stored is stripped again when it is looked up: it must be the same then.
  for (bool more = true; more;) {
    StrippedUrl next = without_secret_parameters(without_user_info(result.url));
    more = next.had_credentials;
    result = {std::move(next.url), result.had_credentials || more};
  }
  return result;
}

std::string without_credentials_in(std::string_view text, StrippedUrl (*strip)(std::string_view)) {
  std::string result;
  std::size_t done = 0;
  for (auto at = text.find("://"); at != std::string_view::npos; at = text.find("://", std::max(at + 3, done))) {
    auto begin = at;
    const auto is_scheme = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
    };
    while (begin > done && is_scheme(text[begin - 1])) --begin;
    const auto end = std::min(text.find_first_of(" \t\r\n'\"", at), text.size());
    result += text.substr(done, begin - done);
    result += strip(text.substr(begin, end - begin)).url;
    done = end;
  }
  return result + std::string(text.substr(done));
}

namespace {

// RFC 7617: base64 of "user:password", without the padding.
std::string basic_authorization(std::string text) {
  if (text.find(':') == std::string::npos) text += ':';
  std::string encoded(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int length =
      ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  encoded.resize(static_cast<std::size_t>(length));
  encoded.erase(encoded.find_last_not_of('=') + 1);
  return encoded;
}

}  // namespace

std::vector<std::string> secrets_in(std::string_view url) {
  std::vector<std::string> found;
  const auto add = [&](std::string_view secret) {
    if (secret.empty() || is_variable(secret)) return;
    add_secrets(found, {std::string(secret), percent_decoded(secret)});
  };
  const auto [user, password] = taken_apart(user_info_of(url));
  const bool is_name = is_one_of(kEverybody, user) ||
                       (password.empty() ? is_ssh(url.substr(0, url.find("://"))) : user.size() < kShortestToken);
  if (!is_name) add(user);
  add(password);
  // As a tool sends the two, and a server may say it back.
  if (!found.empty()) add_secrets(found, {basic_authorization(percent_decoded(user_info_of(url)))});
  // A date or a number of a signature is no secret and stands in many a line.
  for (const Parameter& parameter : parameters_of(query_of(url)))
    if (is_secret(parameter) && (!parameter.name.starts_with("x-") || parameter.value.size() >= kShortestToken))
      add(parameter.value);
  return found;
}

void add_secrets(std::vector<std::string>& secrets, const std::vector<std::string>& more) {
  for (const std::string& secret : more)
    if (!secret.empty() && std::find(secrets.begin(), secrets.end(), secret) == secrets.end())
      secrets.push_back(secret);
  std::stable_sort(secrets.begin(), secrets.end(),
                   [](const std::string& one, const std::string& other) { return one.size() > other.size(); });
}

bool is_called_secret(std::string_view name) {
  std::string upper(name);
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (const char* word : {"TOKEN", "SECRET", "PASSW", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE_KEY"})
    if (upper.find(word) != std::string::npos) return true;
  return false;
}

}  // namespace runner::envs
