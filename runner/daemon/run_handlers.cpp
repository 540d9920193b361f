#include "runner/daemon/run_handlers.hpp"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "runner/api/run_document.hpp"
#include "runner/core/error.hpp"
#include "runner/core/run_bounds.hpp"
#include "runner/daemon/log_stream.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/run_queries.hpp"

namespace runner::daemon {
namespace {

void stop_run(const RunCall& call, bool fails) {
  const auto body = body_of(call.request);
  std::string reason = fails ? "marked as failed by " : "cancelled by ";
  if (!call.on_run_socket())
    reason += "the user";
  else
    reason += call.asker == call.run ? "its own script" : "the script of " + call.asker;
  // Cut, not refused, where it is too long: that the run stops is what counts.
  call.pipeline.cancel(call.run, {.reason = shortened(text_in(body, "reason", reason), kMaxReason),
                                  .fails = fails,
                                  .recursive = truth_in(body, "recursive", true)});
  call.exchange.respond({.status = 200, .body = document_of(call.pipeline, call.run)});
}

}  // namespace

const std::vector<RunRoute>& run_routes() {
  static const std::vector<RunRoute> routes{
      {"GET", "", show_run},
      {"GET", "/wait", wait_for_run},
      {"GET", "/log", read_log},
      {"GET", "/files", list_files},
      {"GET", "/file", read_file},
      {"GET", "/metrics", read_metrics},
      {"POST", "/cancel", cancel_run},
      {"POST", "/fail", fail_run},
      {"PATCH", "", change_run},
      {"GET", "/children", list_children},
      {"POST", "/children", create_children},
      {"POST", "/end", end_run},
      {"POST", "/submit", submit_child},
  };
  return routes;
}

std::optional<std::string> rest_of(const http::Request& request) {
  const auto& path = request.path;
  if (path.size() < 3 || path[0] != "v1" || path[1] != "runs" || path[2].empty()) return std::nullopt;
  std::string rest;
  for (std::size_t i = 3; i < path.size(); ++i) rest.append("/").append(path[i]);
  return rest;
}

const RunRoute* find_run_route(const http::Request& request, bool& wrong_method) {
  const auto rest = rest_of(request);
  if (!rest) return nullptr;
  for (const RunRoute& route : run_routes()) {
    if (route.rest != *rest) continue;
    if (route.method == request.method) return &route;
    wrong_method = true;
  }
  return nullptr;
}

http::Response method_not_allowed(const std::string& method) {
  auto response = http::error_response(Error(ErrorCode::kInvalid, method + ": not a method of this path"));
  response.status = 405;
  return response;
}

std::string document_of(pipeline::Pipeline& pipeline, const std::string& id) {
  store::History& history = pipeline.history();
  RunRecord run = history.get(id);
  run.status_reason = pipeline.waiting_reason(run);
  api::RunDetails details;
  details.metrics = metrics_of(history, id);
  details.artifacts = history.artifacts(id);
  details.notices = history.notices(id);
  details.parameters = history.parameters(id);
  if (!is_final(run.status))
    if (const auto samples = pipeline.usage_of(id); !samples.empty()) details.usage_so_far = shim::usage_of(samples);
  details.log_exists = !is_final(run.status) && ::access(pipeline.data().run(id).log().c_str(), F_OK) == 0;
  return api::run_document(run, details);
}

void respond_submitted(pipeline::Pipeline& pipeline, pipeline::Pipeline::Submitted submitted, Exchange& exchange) {
  submitted.run.status_reason = pipeline.waiting_reason(submitted.run);
  api::RunDetails details;
  details.notices = submitted.warnings;
  details.parameters = pipeline.history().parameters(submitted.run.id);
  exchange.respond({.status = submitted.existed ? 200 : 201, .body = api::run_document(submitted.run, details)});
}

void show_run(const RunCall& call) {
  call.exchange.respond({.status = 200, .body = document_of(call.pipeline, call.run)});
}

void wait_for_run(const RunCall& call) {
  call.exchange.expect_to_wait();
  const auto subscription = call.pipeline.events().subscribe(call.run);
  for (;;) {
    subscription.clear();
    if (is_final(call.pipeline.history().get(call.run).status)) return show_run(call);
    if (!call.exchange.wait(subscription.fd(), std::nullopt))
      throw Error(ErrorCode::kUnavailable, "the daemon is stopping", "ask again: the run goes on");
  }
}

void read_log(const RunCall& call) {
  const http::Request& request = call.request;
  LogRequest wanted{.run = call.run};
  if (const auto name = request.parameter("name")) wanted.name = *name;
  if (const auto offset = request.parameter("offset")) wanted.offset = whole_number(*offset, "offset");
  for (const auto& [parameter, value] :
       {std::pair{"limit", &LogRequest::limit}, {"head", &LogRequest::head}, {"tail", &LogRequest::tail}})
    if (const auto text = request.parameter(parameter)) wanted.*value = whole_number(*text, parameter);
  wanted.range = request.range;
  if (const auto attempt = request.parameter("attempt"))
    wanted.attempt = static_cast<int>(whole_number(*attempt, "attempt"));
  wanted.follow = is_true(request.parameter("follow"));
  stream_log(call.pipeline, wanted, call.exchange);
}

void list_files(const RunCall& call) {
  auto artifacts = call.pipeline.history().artifacts(call.run);
  if (const auto prefix = call.request.parameter("prefix"))
    std::erase_if(artifacts, [&](const Artifact& artifact) { return !artifact.name.starts_with(*prefix); });
  call.exchange.respond({.status = 200, .body = api::artifact_list_document(artifacts)});
}

void read_file(const RunCall& call) {
  const auto name = call.request.parameter("name");
  if (!name) throw Error(ErrorCode::kInvalid, "query: 'name' is missing", "GET …/files lists the names");
  stream_artifact(call.pipeline, call.run, *name, call.request.range, call.exchange);
}

void cancel_run(const RunCall& call) { stop_run(call, false); }
void fail_run(const RunCall& call) { stop_run(call, true); }

}  // namespace runner::daemon
