// A match spec has three spellings of the same thing ("numpy =1.26", "numpy=1.26", "numpy 1.26.*"); here it gets one.
#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "envs/conda_channel.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

constexpr std::size_t kMaxLength = 4096;
constexpr std::string_view kBlanks = " \t";
constexpr std::string_view kOperators = "=<>!~";

[[noreturn]] void refuse(std::string_view spec, const std::string& why, const std::string& hint = {}) {
  throw Error(ErrorCode::kInvalid,
              "'" + without_spec_credentials(spec).substr(0, 100) + "' is no conda package: " + why, hint);
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

bool is_operator(char c) { return kOperators.find(c) != std::string_view::npos; }
bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.'; }
bool is_version(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("_.+!*<>=~,|()-^$").find(c) != std::string_view::npos;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return result;
}

bool is_archive(std::string_view text) {
  text = text.substr(0, text.find('#'));
  return text.ends_with(".conda") || text.ends_with(".tar.bz2");
}

// Blanks that separate nothing are dropped: those beside an operator, a comma or a bar. What is left are fields.
std::vector<std::string> fields_of(std::string_view tail) {
  std::vector<std::string> fields;
  std::string field;
  const auto glues = [](char c) { return is_operator(c) || c == ',' || c == '|'; };
  for (std::size_t i = 0; i < tail.size(); ++i) {
    if (kBlanks.find(tail[i]) == std::string_view::npos) {
      field += tail[i];
      continue;
    }
    const auto next = tail.find_first_not_of(kBlanks, i);
    if (!field.empty() && !glues(field.back()) && !glues(tail[next])) fields.push_back(std::exchange(field, {}));
    i = next - 1;
  }
  if (!field.empty()) fields.push_back(field);
  return fields;
}

std::string without_equals(std::string version) {
  version.erase(0, std::min(version.find_first_not_of('='), version.size()));
  return version;
}

// "=1.26", "==1.26", ">=1,<2", or with a build: "=1.26=py311_0"; the blank before it where there is no other way.
std::string constraint(const std::vector<std::string>& fields) {
  if (fields.empty()) return {};
  const std::string& version = fields[0];
  const bool alternatives = version.find_first_of(",|") != std::string::npos;
  const bool simple = !alternatives && (version[0] == '=' || !is_operator(version[0]));
  if (fields.size() == 2) return (simple ? "=" + without_equals(version) + "=" : " " + version + " ") + fields[1];
  if (version == "*") return {};
  if (is_operator(version[0])) return version;
  if (alternatives) return " " + version;
  return (version.find('*') == std::string::npos ? "==" : "=") + version;  // alone it is exact
}

void check_constraint(std::string_view spec, std::string_view tail, const std::vector<std::string>& fields) {
  if (fields.size() > 2) refuse(spec, "more than a name, a version and a build");
  if (const auto marker = tail.find(';'); marker != std::string_view::npos)
    refuse(spec, "environment markers are pip's", "list it below `- pip:`");
  for (const char c : tail)
    if (!is_version(c) && kBlanks.find(c) == std::string_view::npos)
      refuse(spec, std::string("'") + c + "' in its version", c == ':' ? "write NAME=VERSION" : "");
  if (std::any_of(fields.begin(), fields.end(),
                  [](const std::string& f) { return is_operator(f.back()) || f.back() == ',' || f.back() == '|'; }))
    refuse(spec, "an operator without a version");
}

// "[version='>=1', build=*_0]", as it stands but for the blanks at its ends.
std::string bracket_of(std::string_view spec, std::string_view& rest) {
  const auto open = rest.find('[');
  if (open == std::string_view::npos) return {};
  const std::string_view bracket = trimmed(rest.substr(open));
  if (!bracket.ends_with(']')) refuse(spec, "its '[' is not closed");
  const std::string_view inner = trimmed(bracket.substr(1, bracket.size() - 2));
  if (!inner.empty() && inner.find('=') == std::string_view::npos)
    refuse(spec, "extras are pip's, '[...]' holds KEY=VALUE here", "list it below `- pip:`");
  rest = trimmed(rest.substr(0, open));
  return inner.empty() ? "" : "[" + std::string(inner) + "]";
}

}  // namespace

std::string normalised_match_spec(std::string_view spec) {
  if (spec.size() > kMaxLength) refuse(spec, "longer than 4096 characters");
  for (const char c : spec)
    if (static_cast<unsigned char>(c) < ' ' && c != '\t') refuse(spec, "a control character in it");
  if (const auto comment = spec.find(" #"); comment != std::string_view::npos) spec = spec.substr(0, comment);
  spec = trimmed(spec);
  if (spec.empty()) refuse(spec, "empty");
  const bool names_channel = spec.find("::") != std::string_view::npos;
  if (is_archive(spec) || (!names_channel && spec.find("://") < spec.find_first_of(" ["))) return std::string(spec);

  std::string_view rest = spec;
  const std::string bracket = bracket_of(spec, rest);
  std::string channel;
  if (const auto colons = rest.rfind("::"); colons != std::string_view::npos) {
    channel = std::string(trimmed(rest.substr(0, colons))) + "::";
    rest = trimmed(rest.substr(colons + 2));
    if (channel == "::") refuse(spec, "'::' without a channel");
  }
  const auto end = static_cast<std::size_t>(std::find_if_not(rest.begin(), rest.end(), is_name) - rest.begin());
  const std::string name = lower(rest.substr(0, end));
  std::string_view tail = trimmed(rest.substr(end));
  if (name.empty()) refuse(spec, rest.empty() ? "no name" : std::string("'") + rest[0] + "' where its name begins");
  const auto fields = fields_of(tail);
  check_constraint(spec, tail, fields);
  if (!tail.empty() && end < rest.size() && !is_operator(rest[end]) &&
      kBlanks.find(rest[end]) == std::string_view::npos)
    refuse(spec, std::string("'") + rest[end] + "' in its name");
  return channel + name + constraint(fields) + bracket;
}

}  // namespace runner::envs
