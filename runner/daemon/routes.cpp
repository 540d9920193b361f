#include "runner/daemon/routes.hpp"

#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "embedded/openapi.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/exec_session.hpp"
#include "runner/daemon/log_stream.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/run_queries.hpp"
#include "runner/exec/place_checks.hpp"

namespace runner::daemon {

struct Routes::Route {
  std::string_view method;
  std::vector<std::string_view> path;  // "{run}", "{snapshot}", … match any segment
  Call call;
};

const std::vector<Routes::Route>& Routes::table() {
  static const std::vector<Route> routes{
      {"GET", {"openapi.json"}, &Routes::openapi},
      {"GET", {"v1", "daemon"}, &Routes::daemon_facts},
      {"POST", {"v1", "daemon", "stop"}, &Routes::daemon_stop},
      {"GET", {"v1", "doctor"}, &Routes::doctor},
      {"POST", {"v1", "runs"}, &Routes::submit},
      {"GET", {"v1", "runs"}, &Routes::list},
      {"GET", {"v1", "runs", "{run}"}, &Routes::show},
      {"GET", {"v1", "runs", "{run}", "wait"}, &Routes::wait},
      {"GET", {"v1", "runs", "{run}", "progress"}, &Routes::progress},
      {"GET", {"v1", "runs", "{run}", "log"}, &Routes::log},
      {"GET", {"v1", "runs", "{run}", "files"}, &Routes::files},
      {"GET", {"v1", "runs", "{run}", "file"}, &Routes::file},
      {"POST", {"v1", "runs", "{run}", "cancel"}, &Routes::cancel},
      {"POST", {"v1", "runs", "{run}", "fail"}, &Routes::fail},
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
      {"GET", {"v1", "runs", "{run}", "metrics"}, &Routes::metrics},
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
  for (const Route& route : table()) {
    if (!matches(route.path, request.path)) continue;
    if (route.method == request.method) return (this->*route.call)(request, exchange);
    path_known = true;
  }
  if (path_known) {
    auto response = http::error_response(Error(ErrorCode::kInvalid, request.method + ": not a method of this path"));
    response.status = 405;
    return exchange.respond(response);
  }
  throw Error(ErrorCode::kNotFound, "no such route", "GET /openapi.json lists them");
}

std::vector<std::string> Routes::names() {
  std::vector<std::string> names;
  for (const Route& route : table()) {
    std::string name(route.method);
    name += ' ';
    for (const auto segment : route.path) name.append("/").append(segment);
    names.push_back(name);
  }
  return names;
}

std::string Routes::run_of(const http::Request& request) const { return pipeline_.history().resolve(request.path[2]); }

std::string Routes::document_of(const std::string& id) {
  store::History& history = pipeline_.history();
  RunRecord run = history.get(id);
  run.status_reason = pipeline_.waiting_reason(run);
  api::RunDetails details;
  details.metrics = metrics_of(history, id);
  details.artifacts = history.artifacts(id);
  details.notices = history.notices(id);
  details.parameters = history.parameters(id);
  if (!is_final(run.status))
    if (const auto samples = pipeline_.usage_of(id); !samples.empty()) details.usage_so_far = shim::usage_of(samples);
  details.log_exists = !is_final(run.status) && ::access(pipeline_.data().run(id).log().c_str(), F_OK) == 0;
  return api::run_document(run, details);
}

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
  respond_submitted(pipeline_.submit(api::parse_submission(request.body), notices_to(request, exchange)), exchange);
}

void Routes::respond_submitted(pipeline::Pipeline::Submitted submitted, Exchange& exchange) {
  submitted.run.status_reason = pipeline_.waiting_reason(submitted.run);
  api::RunDetails details;
  details.notices = submitted.warnings;
  exchange.respond({.status = submitted.existed ? 200 : 201, .body = api::run_document(submitted.run, details)});
}

void Routes::list(const http::Request& request, Exchange& exchange) {
  store::History& history = pipeline_.history();
  std::vector<api::ListedRun> listed;
  std::vector<std::string> warnings;
  const auto unreadable = [&](const std::string& id, const std::string& why) {
    warnings.push_back("run " + id + " is not listed: " + why + "; `runner fsck` tells more");
  };
  store::RunPage page = history.page(filter_of(request, history), unreadable);
  for (RunRecord& run : page.runs) {
    auto metrics = last_metrics_of(history, run.id);
    run.status_reason = pipeline_.waiting_reason(run);
    listed.push_back({.run = std::move(run), .last_metrics = std::move(metrics)});
  }
  std::optional<std::string> next;
  if (page.next) next = std::to_string(*page.next);
  exchange.respond({.status = 200, .body = api::run_list_document(listed, warnings, next)});
}

void Routes::show(const http::Request& request, Exchange& exchange) {
  exchange.respond({.status = 200, .body = document_of(run_of(request))});
}

void Routes::wait(const http::Request& request, Exchange& exchange) {
  exchange.expect_to_wait();
  const std::string id = run_of(request);
  const auto subscription = pipeline_.events().subscribe(id);
  for (;;) {
    subscription.clear();
    if (is_final(pipeline_.history().get(id).status)) return exchange.respond({.status = 200, .body = document_of(id)});
    if (!exchange.wait(subscription.fd(), std::nullopt))
      throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again: the run goes on");
  }
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

void Routes::log(const http::Request& request, Exchange& exchange) {
  LogRequest wanted{.run = run_of(request)};
  if (const auto name = request.parameter("name")) wanted.name = *name;
  if (const auto offset = request.parameter("offset")) wanted.offset = whole_number(*offset, "offset");
  for (const auto& [parameter, value] :
       {std::pair{"limit", &LogRequest::limit}, {"head", &LogRequest::head}, {"tail", &LogRequest::tail}})
    if (const auto text = request.parameter(parameter)) wanted.*value = whole_number(*text, parameter);
  wanted.range = request.range;
  if (const auto attempt = request.parameter("attempt"))
    wanted.attempt = static_cast<int>(whole_number(*attempt, "attempt"));
  const auto follow = request.parameter("follow");
  wanted.follow = follow == "1" || follow == "true";
  stream_log(pipeline_, wanted, exchange);
}

void Routes::files(const http::Request& request, Exchange& exchange) {
  auto artifacts = pipeline_.history().artifacts(run_of(request));
  if (const auto prefix = request.parameter("prefix"))
    std::erase_if(artifacts, [&](const Artifact& artifact) { return !artifact.name.starts_with(*prefix); });
  exchange.respond({.status = 200, .body = api::artifact_list_document(artifacts)});
}

void Routes::file(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  const auto name = request.parameter("name");
  if (!name) throw Error(ErrorCode::kInvalid, "query: 'name' is missing", "GET …/files lists the names");
  stream_artifact(pipeline_, id, *name, request.range, exchange);
}

void Routes::cancel(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  const auto body = body_of(request);
  pipeline_.cancel(
      id, {.reason = text_in(body, "reason", "cancelled by the user"), .recursive = truth_in(body, "recursive", true)});
  exchange.respond({.status = 200, .body = document_of(id)});
}

void Routes::fail(const http::Request& request, Exchange& exchange) {
  const std::string id = run_of(request);
  const auto body = body_of(request);
  pipeline_.cancel(id, {.reason = text_in(body, "reason", "marked as failed by the user"),
                        .fails = true,
                        .recursive = truth_in(body, "recursive", true)});
  exchange.respond({.status = 200, .body = document_of(id)});
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
