// run list and run children: runs as a table.
#include "runner/cli/list.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runner/cli/commands.hpp"
#include "runner/cli/table.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kShownMetrics = 3;  // the first ones logged; `show` has all

std::string key_metrics(const Json& run) {
  std::string text;
  std::size_t shown = 0;
  const Json& metrics = member(run, "metrics");
  for (const auto& [name, value] : metrics.items()) {
    if (shown++ == kShownMetrics) return text + " …";
    text += (text.empty() ? "" : " ") + name + "=" + metric_text(value);
  }
  return text;
}

std::string query_of(const ListOptions& options) {
  std::string query;
  const auto add = [&query](const char* name, const std::string& value) {
    query.append("&").append(name).append("=").append(http::percent_encode(value));
  };
  const auto add_all = [&add](const char* name, const std::vector<std::string>& values) {
    for (const std::string& value : values) add(name, value);
  };
  const auto add_one = [&add](const char* name, const std::optional<std::string>& value) {
    if (value) add(name, *value);
  };
  add_one("experiment", options.experiment);
  add_one("status", options.status);
  add_one("kind", options.kind);
  add_all("tag", options.tags);
  add_all("property", options.properties);
  add_all("param", options.parameters);
  add_all("metric", options.metrics);
  add_one("text", options.text);
  add_one("parent", options.parent);
  add_one("since", options.since);
  add_one("until", options.until);
  if (options.recursive) add("recursive", "1");
  if (options.children) add("children", "1");
  return query;
}

// Page by page: the daemon never holds more than one.
Json pages_of(Session& session, const std::string& query, std::optional<std::int64_t> wanted,
              std::optional<std::string> token) {
  constexpr std::int64_t kPage = 1000;  // runs
  Json list;
  for (;;) {
    const std::int64_t limit = std::min(kPage, wanted.value_or(kPage));
    std::string target = "/v1/runs?limit=" + std::to_string(limit) + query;
    if (token) target += "&nextToken=" + http::percent_encode(*token);
    Json page = parse_document(session.get(target));
    // A page of large runs may have fewer than it was asked for.
    const auto got = static_cast<std::int64_t>(member(page, "items").size());
    if (list.is_null()) {
      list = std::move(page);
    } else {
      for (Json& run : page["items"]) list["items"].push_back(std::move(run));
      for (const Json& warning : member(page, "warnings")) list["warnings"].push_back(warning);
      list["nextToken"] = member(page, "nextToken");
    }
    if (wanted) *wanted -= got;
    token = text_at(list, "nextToken");
    if (token->empty() || (wanted && *wanted <= 0)) return list;
  }
}

// The order of a tree's lines and how deep each stands. A run whose parent is not there stands at the left.
struct Placed {
  const Json* run;
  std::size_t depth;
};
std::vector<Placed> placed(const Json& items, Layout layout) {
  std::vector<Placed> lines;
  if (layout == Layout::kList) {
    for (const Json& run : items) lines.push_back({&run, 0});
    return lines;
  }
  std::map<std::string, std::vector<const Json*>> below;
  std::set<std::string> there;
  for (const Json& run : items) there.insert(text_at(run, "runId"));
  std::vector<Placed> pending;  // the next one last: a tree may be deeper than a stack
  for (const Json& run : items) {
    const std::string parent = text_at(run, "parentRunId");
    if (there.contains(parent))
      below[parent].push_back(&run);
    else
      pending.push_back({&run, 0});
  }
  std::reverse(pending.begin(), pending.end());
  while (!pending.empty()) {
    const Placed line = pending.back();
    pending.pop_back();
    lines.push_back(line);
    const auto& children = below[text_at(*line.run, "runId")];
    for (auto child = children.rbegin(); child != children.rend(); ++child) pending.push_back({*child, line.depth + 1});
  }
  return lines;
}

// Two columns a level; from the twelfth level on its number says how deep it is.
std::string id_cell(const Placed& line) {
  constexpr std::size_t kDeepest = 12;
  const std::string id = short_id(text_at(*line.run, "runId"));
  if (line.depth < kDeepest) return std::string(2 * line.depth, ' ') + id;
  return std::string(2 * kDeepest, ' ') + std::to_string(line.depth) + ": " + id;
}

int show(Session& session, const Json& list, Layout layout, const char* none) {
  if (session.json()) {
    print(json_text(dump_document(list)));
    return 0;
  }
  const std::string table = runs_table(member(list, "items"), terminal_width(), utc_now(), layout);
  if (table.empty()) print_error(none);
  print(table);
  for (const Json& warning : member(list, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  return 0;
}

}  // namespace

std::string runs_table(const Json& items, std::size_t width, UtcTime now, Layout layout) {
  Table table({{.title = "RUN"},
               {.title = "EXPERIMENT", .least = 8},
               {.title = "NAME", .least = 8},
               {.title = "STATUS", .least = 10},
               {.title = "AGE", .right = true},
               {.title = "DURATION", .right = true},
               {.title = "METRICS", .least = 8},
               {.title = "TAGS", .least = 6}});
  for (const Placed& line : placed(items, layout)) {
    const Json& run = *line.run;
    table.add({{id_cell(line)},
               {text_at(run, "experiment")},
               {text_at(run, "name") == text_at(run, "runId") ? "" : text_at(run, "name")},  // unnamed: the id again
               {status_with_reason(run), colour_of_status(text_at(run, "status"))},
               {age_text(run, now)},
               {duration_text(run)},
               {key_metrics(run)},
               {tags_text(run)}});
  }
  return table.empty() ? "" : table.text(width);
}

std::string id_of_run(Session& session, const std::string& name) {
  return text_at(parse_document(session.get(run_target(name))), "runId");
}

Json runs_below(Session& session, const std::string& run) {
  ListOptions below;
  below.parent = run;
  below.recursive = true;
  below.children = true;
  return pages_of(session, query_of(below), std::nullopt, std::nullopt);
}

int run(Session& session, const ListOptions& options) {
  std::optional<std::int64_t> wanted;
  if (!options.all) wanted = options.last;
  return show(session, pages_of(session, query_of(options), wanted, options.next_token), Layout::kList,
              "runner: no runs\n");
}

int run(Session& session, const ChildrenOptions& options) {
  ListOptions children;
  children.parent = options.run.starts_with('@') ? id_of_run(session, options.run) : options.run;  // as runs_below
  children.status = options.status;
  children.kind = options.kind;
  children.tags = options.tags;
  children.properties = options.properties;
  children.recursive = options.recursive;
  children.children = true;
  return show(session, pages_of(session, query_of(children), std::nullopt, std::nullopt),
              options.recursive ? Layout::kTree : Layout::kList, "runner: no child runs\n");
}

}  // namespace runner::cli
