// run list and run children: runs as a table.
#include "runner/cli/list.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
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
    if (list.is_null()) {
      list = std::move(page);
    } else {
      for (Json& run : page["items"]) list["items"].push_back(std::move(run));
      for (const Json& warning : member(page, "warnings")) list["warnings"].push_back(warning);
      list["nextToken"] = member(page, "nextToken");
    }
    if (wanted) *wanted -= limit;
    token = text_at(list, "nextToken");
    if (token->empty() || (wanted && *wanted == 0)) return list;
  }
}

}  // namespace

std::string runs_table(const Json& items, std::size_t width, UtcTime now) {
  Table table({{.title = "RUN"},
               {.title = "EXPERIMENT", .least = 8},
               {.title = "NAME", .least = 8},
               {.title = "STATUS", .least = 10},
               {.title = "AGE", .right = true},
               {.title = "DURATION", .right = true},
               {.title = "METRICS", .least = 8},
               {.title = "TAGS", .least = 6}});
  for (const Json& run : items)
    table.add({{short_id(text_at(run, "runId"))},
               {text_at(run, "experiment")},
               {text_at(run, "name") == text_at(run, "runId") ? "" : text_at(run, "name")},  // unnamed: the id again
               {status_with_reason(run), colour_of_status(text_at(run, "status"))},
               {age_text(run, now)},
               {duration_text(run)},
               {key_metrics(run)},
               {tags_text(run)}});
  return table.empty() ? "" : table.text(width);
}

int run(Session& session, const ListOptions& options) {
  std::optional<long> wanted;
  if (!options.all) wanted.emplace(options.last);
  const Json list = pages_of(session, query_of(options), wanted, options.next_token);
  if (session.json()) {
    print(json_text(dump_document(list)));
    return 0;
  }
  const std::string table = runs_table(member(list, "items"), terminal_width(), utc_now());
  if (table.empty()) print_error("runner: no runs\n");
  print(table);
  for (const Json& warning : member(list, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  return 0;
}

int run(Session& session, const ChildrenOptions& options) {
  ListOptions children;
  children.parent = options.run;
  children.recursive = options.recursive;
  children.children = true;
  const Json list = pages_of(session, query_of(children), std::nullopt, std::nullopt);
  if (session.json()) {
    print(json_text(dump_document(list)));
    return 0;
  }
  const std::string table = runs_table(member(list, "items"), terminal_width(), utc_now());
  if (table.empty()) print_error("runner: no child runs\n");
  print(table);
  return 0;
}

}  // namespace runner::cli
