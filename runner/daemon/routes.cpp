#include "runner/daemon/routes.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "embedded/openapi.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/exec_session.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/run_handlers.hpp"
#include "runner/daemon/run_queries.hpp"
#include "runner/daemon/run_routes.hpp"
#include "runner/exec/place_checks.hpp"

namespace runner::daemon {

struct Routes::Route {
  std::string_view method;
  std::vector<std::string_view> path;  // "{run}", "{snapshot}", … match any segment
  Call call;
};

// Those of a run that are on both sockets are in run_handlers.cpp.
const std::vector<Routes::Route>& Routes::table() {
  static const std::vector<Route> routes{
      {"GET", {"openapi.json"}, &Routes::openapi},
      {"GET", {"v1", "daemon"}, &Routes::daemon_facts},
      {"POST", {"v1", "daemon", "stop"}, &Routes::daemon_stop},
      {"GET", {"v1", "doctor"}, &Routes::doctor},
      {"POST", {"v1", "runs"}, &Routes::submit},
      {"GET", {"v1", "runs"}, &Routes::list},
      {"GET", {"v1", "runs", "{run}", "progress"}, &Routes::progress},
      {"POST", {"v1", "runs", "{run}", "artifacts"}, &Routes::add_file},
      {"DELETE", {"v1", "runs", "{run}"}, &Routes::delete_run},
      {"POST", {"v1", "interactive"}, &Routes::interactive},
      {"POST", {"v1", "runs", "{run}", "pause"}, &Routes::pause},
      {"POST", {"v1", "runs", "{run}", "resume"}, &Routes::resume},
      {"POST", {"v1", "runs", "{run}", "move"}, &Routes::move},
      {"GET", {"v1", "queue"}, &Routes::queue},
      {"POST", {"v1", "queue", "pause"}, &Routes::queue_pause},
      {"POST", {"v1", "queue", "resume"}, &Routes::queue_resume},
      {"POST", {"v1", "runs", "{run}", "exec"}, &Routes::exec},
      {"POST", {"v1", "dry-run"}, &Routes::dry_run},
      {"POST", {"v1", "runs", "{run}", "rerun"}, &Routes::rerun},
      {"POST", {"v1", "runs", "{run}", "restore"}, &Routes::restore},
      {"GET", {"v1", "runs", "{run}", "code-diff"}, &Routes::code_diff},
      {"GET", {"v1", "experiments"}, &Routes::experiments},
      {"POST", {"v1", "snapshots"}, &Routes::snapshot_create},
      {"GET", {"v1", "snapshots", "{snapshot}"}, &Routes::snapshot_show},
      {"GET", {"v1", "snapshots", "{snapshot}", "entries"}, &Routes::snapshot_entries},
      {"POST", {"v1", "snapshots", "{snapshot}", "restore"}, &Routes::snapshot_restore},
      {"GET", {"v1", "source", "files"}, &Routes::source_files},
      {"GET", {"v1", "source", "explanations"}, &Routes::source_explanations},
      {"GET", {"v1", "environments"}, &Routes::environment_list},
      {"POST", {"v1", "environments"}, &Routes::environment_register},
      {"GET", {"v1", "environments", "{environment}"}, &Routes::environment_show},
      {"DELETE", {"v1", "environments", "{environment}"}, &Routes::environment_delete},
      {"GET", {"v1", "environments", "{environment}", "diff"}, &Routes::environment_diff},
      {"POST", {"v1", "gc"}, &Routes::gc},
      {"POST", {"v1", "fsck"}, &Routes::fsck},
      {"POST", {"v1", "backup"}, &Routes::backup},
      {"POST", {"v1", "sql"}, &Routes::sql},
  };
  return routes;
}

namespace {

bool matches(const std::vector<std::string_view>& pattern, const std::vector<std::string>& path) {
  return std::equal(pattern.begin(), pattern.end(), path.begin(), path.end(),
                    [](std::string_view expected, const std::string& given) {
                      return expected.starts_with('{') ? !given.empty() : expected == given;
                    });
}

}  // namespace

Routes::Routes(pipeline::Pipeline& pipeline, api::DaemonFacts facts, std::function<void(bool)> stop)
    : pipeline_(pipeline), facts_(std::move(facts)), stop_(std::move(stop)) {}

void Routes::handle(const http::Request& request, Exchange& exchange) {
  refuse_bombs(request.body);
  bool path_known = false;
  if (const RunRoute* const route = find_run_route(request, path_known)) {
    const std::string run = run_of(request);
    take_in_own(run, exchange);
    return route->handler({.pipeline = pipeline_, .run = run, .asker = {}, .request = request, .exchange = exchange});
  }
  for (const Route& route : table()) {
    if (!matches(route.path, request.path)) continue;
    if (route.method == request.method) return (this->*route.call)(request, exchange);
    path_known = true;
  }
  if (path_known) return exchange.respond(method_not_allowed(request.method));
  throw Error(ErrorCode::kNotFound, "no such route", "GET /openapi.json lists them");
}

std::vector<std::string> Routes::names() {
  std::vector<std::string> names = RunRoutes::names();
  for (const Route& route : table()) {
    std::string name(route.method);
    name += ' ';
    for (const auto segment : route.path) name.append("/").append(segment);
    names.push_back(name);
  }
  return names;
}

std::string Routes::run_of(const http::Request& request) const { return pipeline_.history().resolve(request.path[2]); }

// An interactive run's process can read back what it has logged, as a script can on its run socket.
void Routes::take_in_own(const std::string& run, Exchange& exchange) {
  try {
    const auto lineage = pipeline_.history().lineage(run);
    const RunRecord top = pipeline_.history().get(lineage.back());
    if (top.kind != RunKind::kInteractive || is_final(top.status)) return;
    for (const std::string& id : lineage) pipeline_.take_in_journal(id);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInternal) return;  // a damaged record: what can be said of the run is said below
    if (error.code() == ErrorCode::kUnavailable) exchange.close_afterwards();  // nothing was done: it is asked again
    throw;
  }
}

std::string Routes::document_of(const std::string& id) { return daemon::document_of(pipeline_, id); }

void Routes::openapi(const http::Request&, Exchange& exchange) {
  exchange.respond({.status = 200, .body = std::string(embedded::openapi)});
}

void Routes::daemon_facts(const http::Request&, Exchange& exchange) {
  exchange.respond({.status = 200, .body = api::daemon_document(facts_)});
}

void Routes::daemon_stop(const http::Request& request, Exchange& exchange) {
  const bool cancel_runs = truth_in(body_of(request), "cancelRuns");
  exchange.respond({.status = 202, .body = "{}"});
  stop_(cancel_runs);
}

void Routes::doctor(const http::Request& request, Exchange& exchange) {
  std::vector<api::CheckRow> rows;
  std::vector<exec::Check> checks = pipeline_.sandbox().checks();
  // Which engine is meant depends on who asks, as with a submission.
  std::map<std::string, std::string> caller;
  for (const auto& [parameter, variable] : {std::pair{"dockerHost", "DOCKER_HOST"}, {"runtimeDir", "XDG_RUNTIME_DIR"}})
    if (const auto value = request.parameter(parameter)) caller[variable] = *value;
  checks.push_back(pipeline_.containers().check(caller));
  exec::ClockFacts clock{.now = utc_now(), .synchronised = exec::clock_is_synchronised()};
  try {
    clock.newest = pipeline_.history().newest_time();
  } catch (const Error&) {
    // a damaged history is `fsck`'s to tell
  }
  checks.push_back(exec::check_clock(clock));
  for (exec::Check& check : pipeline_.laptop_checks()) checks.push_back(std::move(check));
  checks.push_back(exec::gpu_check(pipeline_.gpus()));
  checks.push_back(pipeline_.database_check());
  for (const exec::Check& check : checks)
    rows.push_back({.name = check.name, .works = check.works, .detail = check.detail, .remedy = check.remedy});
  exchange.respond({.status = 200, .body = api::check_list_document(rows)});
}

void Routes::submit(const http::Request& request, Exchange& exchange) {
  respond_submitted(pipeline_, pipeline_.submit(api::parse_submission(request.body), notices_to(request, exchange)),
                    exchange);
}

void Routes::list(const http::Request& request, Exchange& exchange) {
  exchange.respond({.status = 200, .body = run_list(pipeline_, filter_of(request, pipeline_.history()))});
}

void Routes::progress(const http::Request& request, Exchange& exchange) {
  exchange.expect_to_wait();
  const std::string id = run_of(request);
  const auto subscription = pipeline_.events().subscribe(id);
  exchange.start_stream(200, "text/plain; charset=utf-8", std::nullopt);
  for (std::string told;;) {
    subscription.clear();
    RunRecord run = pipeline_.history().get(id);
    run.status_reason = pipeline_.waiting_reason(run);
    const bool waits =
        run.status == RunStatus::kNotStarted || run.status == RunStatus::kQueued || run.status == RunStatus::kPreparing;
    if (!waits) return exchange.finish_stream();
    if (!run.status_reason.empty() && run.status_reason != told) {
      told = run.status_reason;
      const std::string line = told + "\n";
      exchange.write(std::as_bytes(std::span(line)));
    }
    if (!exchange.wait(subscription.fd(), std::nullopt)) throw ClientGone{};
  }
}

void Routes::pause(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  pipeline_.pause(id, true);
  exchange.respond({.status = 200, .body = document_of(id)});
}

void Routes::resume(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  pipeline_.pause(id, false);
  exchange.respond({.status = 200, .body = document_of(id)});
}

void Routes::exec(const http::Request& request, Exchange& exchange) {
  const auto body = body_of(request);
  const auto words = body.find("command");
  std::vector<std::string> command;
  if (words != body.end() && words->is_array())
    for (const auto& word : *words)
      if (word.is_string()) command.push_back(word.get<std::string>());
  if (words == body.end() || !words->is_array() || command.size() != words->size())
    throw Error(ErrorCode::kInvalid, "exec: 'command' must be a list of strings");
  stream_exec(pipeline_, run_of(request), command, exchange);
}

void Routes::experiments(const http::Request&, Exchange& exchange) {
  exchange.respond({.status = 200, .body = api::name_list_document(pipeline_.history().experiments())});
}

}  // namespace runner::daemon
