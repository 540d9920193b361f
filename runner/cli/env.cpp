// env register, list, diff, delete.
#include "runner/cli/env.hpp"

#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/submission.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {
namespace {

bool is_true(const Json& value) { return value.is_boolean() && value.get<bool>(); }

std::string named(const Json& row) { return text_at(row, "name") + " version " + text_at(row, "version"); }

Cell built_cell(const Json& row) {
  const Json& built = member(row, "built");
  if (!built.is_boolean()) return {""};  // used as it is
  return built.get<bool>() ? Cell{"yes", Colour::kGreen} : Cell{"no", Colour::kDim};
}

std::string size_cell(const Json& row) {
  const auto bytes = static_cast<std::int64_t>(number_at(row, "bytes").value_or(0));
  return bytes > 0 ? format_size(bytes) : "";
}

Colour colour_of_line(const std::string& line) {
  if (line.starts_with("- ")) return Colour::kRed;
  return line.starts_with("+ ") ? Colour::kGreen : Colour::kNone;
}

}  // namespace

std::string versioned(const std::string& name, const std::optional<std::string>& version) {
  if (!version) return name;
  const auto colon = name.rfind(':');  // the name of a saved one has the time in it
  if (colon != std::string::npos && name.find_first_not_of("0123456789", colon + 1) == std::string::npos)
    throw Error(ErrorCode::kInvalid, "-v " + *version + ": " + name + " has a version already",
                "leave one of them out");
  return name + ":" + *version;
}

std::string environments_table(const Json& items, std::size_t width, UtcTime now) {
  Table table({{.title = "NAME", .least = 12},
               {.title = "VERSION", .right = true},
               {.title = "KIND"},
               {.title = "AGE", .right = true},
               {.title = "BUILT"},
               {.title = "SIZE", .right = true}});
  for (const Json& row : items)
    table.add({{text_at(row, "name")},
               {text_at(row, "version")},
               {text_at(row, "kind")},
               {is_true(member(row, "curated")) ? "curated" : age_text(row, now)},
               built_cell(row),
               {size_cell(row)}});
  return table.empty() ? "" : table.text(width);
}

int run(Session& session, const EnvRegisterOptions& options) {
  const std::string answer = session.post("/v1/environments", registration_document(options, this_caller()));
  const Json document = parse_document(answer);
  for (const Json& warning : member(document, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  if (session.json())
    print(json_text(answer));
  else
    print(printable(named(document)) + (is_true(member(document, "existed")) ? " (unchanged)\n" : "\n"));
  return 0;
}

int run(Session& session, const EnvListOptions& options) {
  std::string target = "/v1/environments";
  if (options.name) target += "?name=" + http::percent_encode(*options.name);
  if (options.all) target.append(options.name ? "&" : "?").append("all=1");
  const std::string answer = session.get(target);
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const std::string table = environments_table(member(parse_document(answer), "items"), terminal_width(), utc_now());
  if (table.empty()) print_error("runner: no environments\n");
  print(table);
  return 0;
}

int run(Session& session, const EnvDiffOptions& options) {
  const std::string answer =
      session.get(environment_target(options.before, "/diff?other=" + http::percent_encode(options.after)));
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const Json document = parse_document(answer);
  std::string text;
  std::string part;
  for (const Json& item : member(document, "items")) {
    if (text_at(item, "part") != part) {
      part = text_at(item, "part");
      text += coloured(part, Colour::kBold) + "\n";
    }
    const std::string line = text_at(item, "text");
    text += "  " + coloured(printable(line), colour_of_line(line)) + "\n";
  }
  for (const Json& note : member(document, "notes"))
    if (note.is_string()) print_error("runner: " + printable(note.get<std::string>()) + "\n");
  if (text.empty()) print_error("runner: no difference\n");
  print(text);
  return 0;
}

int run(Session& session, const EnvDeleteOptions& options) {
  const std::string name = versioned(options.name, options.version);
  const std::string answer = session.remove(environment_target(name));
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const std::string count = scalar_text(member(parse_document(answer), "deletedVersions"));
  print(printable(name) + ": " + count + (count == "1" ? " version deleted\n" : " versions deleted\n"));
  return 0;
}

}  // namespace runner::cli
