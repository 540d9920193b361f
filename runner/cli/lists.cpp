// The plain lists: files, metrics, experiments, doctor. One request, one table.
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

// Prints the answer as it is, or the rows that `row` makes of its items.
template <class Row>
int print_list(Session& session, const std::string& target, Table table, const Row& row, const char* none) {
  const std::string answer = session.get(target);
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const Json document = parse_document(answer);
  for (const Json& item : member(document, "items")) table.add(row(item));
  if (table.empty()) {
    print_error(std::string("runner: ") + none + "\n");
    return 0;
  }
  print(table.text(terminal_width()));
  return 0;
}

}  // namespace

int run(Session& session, const FilesOptions& options) {
  const std::string query = options.prefix ? "?prefix=" + http::percent_encode(*options.prefix) : "";
  Table table({{.title = "NAME"}, {.title = "SIZE", .right = true}, {.title = "SHA256", .least = 12}});
  const auto row = [](const Json& file) -> std::vector<Cell> {
    const auto bytes = static_cast<std::int64_t>(number_at(file, "bytes").value_or(0));
    return {{text_at(file, "name")}, {format_size(bytes)}, {text_at(file, "sha256"), Colour::kDim}};
  };
  return print_list(session, run_target(options.run, "/files" + query), std::move(table), row, "no files");
}

int run(Session& session, const MetricsOptions& options) {
  if (options.name) {
    Table table({{.title = "STEP", .right = true}, {.title = "VALUE", .right = true}, {.title = "TIME"}});
    const auto row = [](const Json& point) -> std::vector<Cell> {
      return {{scalar_text(member(point, "step"))},
              {scalar_text(member(point, point.contains("values") ? "values" : "value"))},
              {text_at(point, "timeUtc"), Colour::kDim}};
    };
    std::string query = "/metrics?name=" + http::percent_encode(*options.name);
    if (options.system) query += "&system=1";
    if (options.max_points) query += "&max-points=" + std::to_string(*options.max_points);
    return print_list(session, run_target(options.run, query), std::move(table), row, "no points");
  }
  Table table({{.title = "METRIC", .least = 10},
               {.title = "SHAPE"},
               {.title = "COUNT", .right = true},
               {.title = "LAST", .right = true, .least = 10},
               {.title = "MIN", .right = true},
               {.title = "MAX", .right = true}});
  const auto row = [](const Json& metric) -> std::vector<Cell> {
    return {{text_at(metric, "name")},
            {text_at(metric, "shape"), Colour::kDim},
            {scalar_text(member(metric, "count"))},
            {scalar_text(member(metric, "last"))},
            {scalar_text(member(metric, "min"))},
            {scalar_text(member(metric, "max"))}};
  };
  return print_list(session, run_target(options.run, options.system ? "/metrics?system=1" : "/metrics"),
                    std::move(table), row,
                    options.system ? "nothing sampled: a run is looked at once a second" : "no metrics");
}

int run(Session& session, const ExperimentListOptions&) {
  const auto row = [](const Json& experiment) -> std::vector<Cell> { return {{text_at(experiment, "name")}}; };
  return print_list(session, "/v1/experiments", Table({{.title = "EXPERIMENT"}}), row, "no experiments");
}

int run(Session& session, const DoctorOptions&) {
  std::string target = "/v1/doctor";
  for (const auto& [variable, parameter] : {std::pair{"DOCKER_HOST", "dockerHost"}, {"XDG_RUNTIME_DIR", "runtimeDir"}})
    if (const char* value = std::getenv(variable); value != nullptr && *value != '\0')
      target.append(target.find('?') == std::string::npos ? "?" : "&")
          .append(parameter)
          .append("=")
          .append(http::percent_encode(value));
  const std::string answer = session.get(target);
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  std::string text;
  const Json document = parse_document(answer);
  for (const Json& check : member(document, "items")) {
    const Json& works = member(check, "works");
    const bool good = works.is_boolean() && works.get<bool>();
    text += (good ? coloured("yes", Colour::kGreen) : coloured("no ", Colour::kRed)) + "  " +
            printable(text_at(check, "name"));
    if (const auto detail = text_at(check, "detail"); !detail.empty()) text += ": " + printable(detail);
    text += "\n";
    if (const auto remedy = text_at(check, "remedy"); !good && !remedy.empty())
      text += "     hint: " + printable(remedy) + "\n";
  }
  print(text);
  return 0;
}

}  // namespace runner::cli
