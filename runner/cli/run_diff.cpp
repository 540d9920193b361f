#include "runner/cli/run_diff.hpp"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "runner/cli/commands.hpp"
#include "runner/cli/diff_git.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kMostSigns = 40;  // of a file's + and -

// "engine.network" → value: objects opened, everything else a value. Nothing for what is null or empty: an absent key.
void flatten(const std::string& prefix, const Json& value, std::map<std::string, Json>& into) {
  if (value.is_object()) {
    for (const auto& [key, inner] : value.items()) flatten(prefix.empty() ? key : prefix + "." + key, inner, into);
  } else if (!value.is_null() && !(value.is_array() && value.empty())) {
    into[prefix] = value;
  }
}

Json differences(const Json& before, const Json& after, bool all) {
  std::map<std::string, std::pair<Json, Json>> values;
  std::map<std::string, Json> flat;
  flatten("", before, flat);
  for (auto& [name, value] : flat) values[name].first = std::move(value);
  flat.clear();
  flatten("", after, flat);
  for (auto& [name, value] : flat) values[name].second = std::move(value);
  Json found = Json::array();
  for (const auto& [name, sides] : values)
    if (all || sides.first != sides.second)
      found.push_back({{"name", name}, {"before", sides.first}, {"after", sides.second}});
  return found;
}

// The last value of each metric; of one that was logged more often also the best ones, whichever way is best.
Json values_of(const Json& metrics) {
  Json values = Json::object();
  for (const Json& metric : member(metrics, "items")) {
    const std::string name = text_at(metric, "name");
    values[name] = scalar_text(member(metric, "last"));
    if (number_at(metric, "count").value_or(0) < 2) continue;
    for (const char* key : {"count", "min", "max"})
      if (const Json& value = member(metric, key); !value.is_null()) values[name + "." + key] = scalar_text(value);
  }
  return values;
}

Json definition_of(const Json& run) {
  Json definition = member(run, "runDefinition");
  for (const char* key : {"experiment", "isolation"}) definition[key] = member(run, key);
  return definition;
}

Json machine_of(const Json& run) {
  Json machine = member(run, "machine");
  machine["gpus"] = member(run, "gpus");
  return machine;
}

// Arguments and commands as a shell takes them, everything else as JSON would have it.
std::string shown(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& item) { return item.is_string(); }))
    return shell_quoted(value);
  if (value.is_array()) return dump_document(value);
  return scalar_text(value);
}

std::string file_name(const Json& item) {
  const std::string old_path = text_at(item, "oldPath");
  return printable(old_path.empty() ? text_at(item, "path") : old_path + " => " + text_at(item, "path"));
}

std::string size_at(const Json& item, const char* key) {
  return std::to_string(static_cast<std::int64_t>(number_at(item, key).value_or(0)));
}

std::string remark(const Json& item) {
  const std::string status = text_at(item, "status");
  const std::string type = text_at(item, status == "deleted" ? "oldType" : "type");
  if (type == "directory") return status == "added" ? "new empty directory" : "empty directory gone";
  if (status == "added") return "new";
  if (status == "deleted") return "gone";
  if (status == "typeChanged") return text_at(item, "oldType") + " → " + type;
  if (type != text_at(item, "oldType")) return type == "executable" ? "mode +x" : "mode -x";
  return "";
}

std::string counted(std::int64_t count, const char* one, const char* many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

}  // namespace

Json parameter_differences(const Json& before, const Json& after, bool all) {
  Json told = differences(member(before, "parameters"), member(after, "parameters"), all);
  const bool named =
      std::any_of(told.begin(), told.end(), [](const Json& one) { return one["before"] != one["after"]; });
  for (Json& one : differences(definition_of(before), definition_of(after), all))
    if (all || !named || one["name"] != "arguments") told.push_back(std::move(one));
  return told;
}
Json environment_differences(const Json& before, const Json& after, bool all) {
  return differences(member(before, "environment"), member(after, "environment"), all);
}
Json git_differences(const Json& before, const Json& after, bool all) {
  return differences(member(before, "git"), member(after, "git"), all);
}
Json machine_differences(const Json& before, const Json& after, bool all) {
  return differences(machine_of(before), machine_of(after), all);
}
Json metric_differences(const Json& before, const Json& after, bool all) {
  return differences(values_of(before), values_of(after), all);
}

std::string code_stat(const Json& code, std::size_t width) {
  const Json& items = member(code, "items");
  std::size_t name_width = 0;
  std::int64_t most = 0;
  const auto lines = [](const Json& item) {
    return static_cast<std::int64_t>(number_at(item, "additions").value_or(0) +
                                     number_at(item, "deletions").value_or(0));
  };
  for (const Json& item : items) {
    name_width = std::max(name_width, display_width(file_name(item)));
    most = std::max(most, lines(item));
  }
  if (width != 0) name_width = std::min(name_width, std::max<std::size_t>(width / 2, 20));
  const std::size_t number_width = std::to_string(most).size();
  // As many signs as lines, or in proportion when there are more than fit; never none for a line that is there.
  const auto signs = [most](const Json& item, const char* key) {
    const auto count = static_cast<std::int64_t>(number_at(item, key).value_or(0));
    if (most <= static_cast<std::int64_t>(kMostSigns)) return static_cast<std::size_t>(count);
    const auto scaled = count * static_cast<std::int64_t>(kMostSigns) / most;
    return static_cast<std::size_t>(count == 0 ? 0 : std::max<std::int64_t>(1, scaled));
  };
  std::string text;
  for (const Json& item : items) {
    const std::string name = shortened(file_name(item), name_width);
    text.append(" ").append(name).append(name_width - display_width(name), ' ').append(" | ");
    const Json& binary = member(item, "binary");
    if (binary.is_boolean() && binary.get<bool>()) {
      text.append("Bin ").append(size_at(item, "oldBytes")).append(" -> ").append(size_at(item, "bytes"));
      text.append(" bytes");
    } else {
      const std::string number = std::to_string(lines(item));
      text.append(number_width - number.size(), ' ').append(number).append(lines(item) == 0 ? "" : " ");
      text.append(coloured(std::string(signs(item, "additions"), '+'), Colour::kGreen));
      text.append(coloured(std::string(signs(item, "deletions"), '-'), Colour::kRed));
    }
    if (const std::string said = remark(item); !said.empty()) text.append("  (").append(said).append(")");
    text.append("\n");
  }
  const auto total = [&code](const char* key) { return static_cast<std::int64_t>(number_at(code, key).value_or(0)); };
  text += " " + counted(total("filesChanged"), "file", "files") + " changed, " +
          counted(total("additions"), "insertion(+)", "insertions(+)") + ", " +
          counted(total("deletions"), "deletion(-)", "deletions(-)") + "\n";
  return text;
}

std::string PatchPainter::paint(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    const auto end = piece.find('\n');
    unfinished_.append(piece.substr(0, end));
    if (end == std::string_view::npos) break;
    piece.remove_prefix(end + 1);
    text.append(line(unfinished_)).append("\n");
    unfinished_.clear();
  }
  return text;
}

std::string PatchPainter::rest() { return line(std::exchange(unfinished_, {})); }

std::string PatchPainter::line(std::string_view raw) {
  const std::string text = printable_with_tabs(raw);      // nothing in a file may steer the terminal
  if (text.starts_with("diff --git ")) in_hunk_ = false;  // in a hunk a line begins with one of " +-\"
  if (text.starts_with("@@ ")) {
    in_hunk_ = true;
    return coloured(text, Colour::kBlue);
  }
  if (!in_hunk_) return coloured(text, Colour::kBold);
  if (text.starts_with('+')) return coloured(text, Colour::kGreen);
  if (text.starts_with('-')) return coloured(text, Colour::kRed);
  return text;
}

namespace {

std::string table_of(const Json& differences, const Json& before, const Json& after) {
  Table table({{.title = "NAME", .least = 12},
               {.title = short_id(text_at(before, "runId")), .least = 12},
               {.title = short_id(text_at(after, "runId")), .least = 12}});
  for (const Json& difference : differences)
    table.add(
        {{text_at(difference, "name")}, {shown(member(difference, "before"))}, {shown(member(difference, "after"))}});
  return table.text(terminal_width());
}

Json list_of(Json items) { return {{"items", std::move(items)}, {"nextToken", nullptr}}; }

std::string code_target(const DiffOptions& options, const char* format) {
  return run_target(options.before, "/code-diff?to=" + http::percent_encode(options.after) + "&format=" + format);
}

int print_patch(Session& session, const DiffOptions& options) {
  PatchPainter painter;
  const bool painted = ::isatty(STDOUT_FILENO) == 1;  // into a pipe it goes byte for byte: for `git apply`
  try {
    session.client().stream("GET", code_target(options, "patch"), [&](std::span<const std::byte> piece) {
      const std::string_view text(reinterpret_cast<const char*>(piece.data()), piece.size());
      print(painted ? painter.paint(text) : std::string(text));
    });
  } catch (const http::ConnectionLost&) {  // an adapter's: behind a part of the answer there is no error document
    throw Error(ErrorCode::kUnavailable, "run diff: the patch was cut short",
                "'runner daemon logs' says why; if a file is damaged, 'runner fsck' names it");
  }
  print(painter.rest());
  return 0;
}

struct Section {
  const char* key;  // of the JSON
  const char* heading;
  DiffPart part;
};
constexpr Section kSections[] = {
    {"parameters", "parameters", DiffPart::kParameters},
    {"environment", "environment", DiffPart::kEnvironment},
    {"git", "git", DiffPart::kGit},
    {"machine", "machine", DiffPart::kMachine},
    {"metrics", "metrics (last, least and greatest values)", DiffPart::kMetrics},
};

Json section_of(DiffPart part, const Json& before, const Json& after, const Json& metrics_before,
                const Json& metrics_after, bool all) {
  switch (part) {
    case DiffPart::kEnvironment:
      return environment_differences(before, after, all);
    case DiffPart::kGit:
      return git_differences(before, after, all);
    case DiffPart::kMachine:
      return machine_differences(before, after, all);
    case DiffPart::kMetrics:
      return metric_differences(metrics_before, metrics_after, all);
    default:
      return parameter_differences(before, after, all);
  }
}

// Package by package, where the locks differ: {packages, notes}.
Json lock_difference(Session& session, const Json& before, const Json& after) {
  Json found = {{"packages", Json::array()}, {"notes", Json::array()}};
  const Json& one = member(before, "environment");
  const Json& other = member(after, "environment");
  if (text_at(one, "lockDigest") == text_at(other, "lockDigest")) return found;
  const Json answer = parse_document(session.get(
      environment_target(text_at(before, "runId"), "/diff?other=" + http::percent_encode(text_at(after, "runId")))));
  for (const Json& item : member(answer, "items"))
    if (text_at(item, "part") == "packages") found["packages"].push_back(text_at(item, "text"));
  found["notes"] = member(answer, "notes");
  return found;
}

std::string lock_text(const Json& locks) {
  std::string text;
  for (const Json& line : locks["packages"]) text += "  " + printable(scalar_text(line)) + "\n";
  for (const Json& line : locks["notes"]) text += "  " + coloured(printable(scalar_text(line)), Colour::kDim) + "\n";
  return text;
}

}  // namespace

int run(Session& session, const DiffOptions& options) {
  if (options.part == DiffPart::kCode && !session.json()) return print_patch(session, options);
  if (options.part == DiffPart::kGit) return diff_git(session, options.before, options.after);
  const bool summary = !options.part;
  Json document = Json::object();
  std::string text;
  const auto add_text = [&text](const char* heading, const std::string& body) {
    if (!body.empty()) text += (text.empty() ? "" : "\n") + coloured(heading, Colour::kBold) + "\n" + body;
  };
  const Json before = parse_document(session.get(run_target(options.before)));
  const Json after = parse_document(session.get(run_target(options.after)));
  // A child that its script says of itself, or a notebook, may have no code of its own.
  const bool have_code = !text_at(before, "snapshotId").empty() && !text_at(after, "snapshotId").empty();
  if (options.part == DiffPart::kCode || (summary && have_code)) {
    const std::string answer = session.get(code_target(options, "json"));
    if (!summary) {
      print(json_text(answer));
      return 0;
    }
    document["code"] = parse_document(answer);
    if (!member(document["code"], "items").empty())
      add_text("code", code_stat(document["code"], session.json() ? 0 : terminal_width()));
  }
  Json metrics_before, metrics_after;
  if (summary || options.part == DiffPart::kMetrics) {
    metrics_before = parse_document(session.get(run_target(text_at(before, "runId"), "/metrics")));
    metrics_after = parse_document(session.get(run_target(text_at(after, "runId"), "/metrics")));
  }
  for (const Section& section : kSections) {
    if (!summary && options.part != section.part) continue;
    Json items = section_of(section.part, before, after, metrics_before, metrics_after, options.all);
    std::string body = items.empty() ? "" : table_of(items, before, after);
    Json list = list_of(std::move(items));
    if (section.part == DiffPart::kEnvironment) {
      const Json locks = lock_difference(session, before, after);
      body += lock_text(locks);
      list.update(locks);
    }
    add_text(section.heading, body);
    if (summary)
      document[section.key] = std::move(list);
    else
      document = std::move(list);
  }
  if (session.json()) {
    Json answer = {{"before", text_at(before, "runId")}, {"after", text_at(after, "runId")}};
    answer.update(document);
    print(json_text(dump_document(answer)));
  } else if (text.empty()) {
    print_error("runner: no differences\n");
  } else {
    print(text);
  }
  return 0;
}

}  // namespace runner::cli
