// run list and run children: runs as a table.
#include "runner/cli/list.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

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
    query.append(query.empty() ? "?" : "&").append(name).append("=").append(http::percent_encode(value));
  };
  if (!options.all) add("limit", std::to_string(options.last));
  if (options.experiment) add("experiment", *options.experiment);
  if (options.status) add("status", *options.status);
  for (const auto& tag : options.tags) add("tag", tag);
  for (const auto& property : options.properties) add("property", property);
  if (options.parent) add("parent", *options.parent);
  if (options.since) add("since", *options.since);
  if (options.children) add("children", "1");
  return query;
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
  const std::string answer = session.get("/v1/runs" + query_of(options));
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const Json page = parse_document(answer);
  const std::string table = runs_table(member(page, "items"), terminal_width(), utc_now());
  if (table.empty()) print_error("runner: no runs\n");
  print(table);
  for (const Json& warning : member(page, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  return 0;
}

int run(Session& session, const ChildrenOptions& options) {
  Json items = Json::array();
  // Level by level; the list of those still to ask grows as children are found.
  std::vector<std::string> parents{options.run};
  for (std::size_t i = 0; i < parents.size(); ++i) {
    const Json page = parse_document(session.get("/v1/runs?children=1&parent=" + http::percent_encode(parents[i])));
    for (const Json& child : member(page, "items")) {
      items.push_back(child);
      if (options.recursive) parents.push_back(text_at(child, "runId"));
    }
  }
  if (session.json()) {
    print(json_text(dump_document({{"items", items}, {"nextToken", nullptr}})));
    return 0;
  }
  const std::string table = runs_table(items, terminal_width(), utc_now());
  if (table.empty()) print_error("runner: no child runs\n");
  print(table);
  return 0;
}

}  // namespace runner::cli
