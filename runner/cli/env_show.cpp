// env show: what was asked for, and what it became on each base: the identity's text, the builds, the packages.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "runner/cli/commands.hpp"
#include "runner/cli/env.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kLabelWidth = 12;
constexpr std::size_t kDigestDigits = 16;  // as the directories of builds have them

// "label   value"; a value of several lines goes on below itself.
void add_line(std::string& page, std::string label, std::string_view value, Colour colour = Colour::kNone) {
  if (value.empty()) return;
  while (!value.empty()) {
    const std::size_t end = std::min(value.find('\n'), value.size());
    page.append("  ").append(label).append(std::max(kLabelWidth, label.size() + 1) - label.size(), ' ');
    page.append(coloured(printable(value.substr(0, end)), colour)).append("\n");
    value.remove_prefix(std::min(end + 1, value.size()));
    label.clear();
  }
}

std::string value_text(const Json& value) { return value.is_string() ? value.get<std::string>() : scalar_text(value); }

// A list is a line each, a table "KEY = VALUE".
void add_member(std::string& page, const std::string& name, const Json& value) {
  std::string text;
  if (value.is_object())
    for (const auto& [key, item] : value.items()) text += key + " = " + value_text(item) + "\n";
  else if (value.is_array())
    for (const Json& item : value) text += value_text(item) + "\n";
  else
    text = value_text(value);
  add_line(page, name, text);
}

std::string whole_seconds(const Json& object, const char* key) {
  const std::string text = text_at(object, key);
  return text.empty() ? text : text.substr(0, text.find('.')) + "Z";
}

void add_build(std::string& page, const Json& build) {
  const auto bytes = static_cast<std::int64_t>(number_at(build, "bytes").value_or(0));
  std::string place = text_at(build, "directory");
  if (place.empty()) place = text_at(build, "image");
  add_line(page, "built",
           whole_seconds(build, "createdTimeUtc") + ", last used " + whole_seconds(build, "lastUsedTimeUtc") +
               (bytes > 0 ? ", " + format_size(bytes) : std::string()) + ", " + place);
}

std::string packages_table(const Json& packages) {
  Table table({{.title = "PACKAGE"}, {.title = "VERSION"}, {.title = "BUILD"}, {.title = "FROM"}});
  for (const Json& package : packages)
    table.add({{text_at(package, "name")},
               {text_at(package, "version")},
               {text_at(package, "build"), Colour::kDim},
               {text_at(package, "channel").empty() ? text_at(package, "manager") : text_at(package, "channel")}});
  return table.empty() ? "" : table.text(0);
}

}  // namespace

std::string environment_page(const Json& environment) {
  std::string page;
  if (const std::string name = text_at(environment, "name"); !name.empty())
    page += coloured(printable(name) + " version " + printable(text_at(environment, "version")), Colour::kBold) + "\n";
  const Json& curated = member(environment, "curated");
  add_line(
      page, "created",
      curated.is_boolean() && curated.get<bool>() ? "comes with runner" : whole_seconds(environment, "createdTimeUtc"));
  const Json& definition = member(environment, "definition");
  for (const auto& [name, value] : member(definition, "specification").items()) add_member(page, name, value);
  add_member(page, "variables", member(definition, "variables"));
  for (const Json& prepared : member(environment, "prepared")) {
    page += "\n" + coloured("digest " + text_at(prepared, "digest").substr(0, kDigestDigits), Colour::kBold) + "\n";
    add_line(page, "hashed", text_at(prepared, "identity"));
    add_line(page, "lock", text_at(prepared, "lockDigest").substr(0, kDigestDigits));
    const Json& builds = member(prepared, "builds");
    for (const Json& build : builds) add_build(page, build);
    const Json& lock = member(prepared, "lock");
    add_line(page, "python", text_at(lock, "pythonVersion"));
    if (const std::string table = packages_table(member(lock, "packages")); !table.empty()) page += "\n" + table;
  }
  return page;
}

int run(Session& session, const EnvShowOptions& options) {
  const std::string answer = session.get(environment_target(versioned(options.name, options.version)));
  print(session.json() ? json_text(answer) : environment_page(parse_document(answer)));
  return 0;
}

}  // namespace runner::cli
