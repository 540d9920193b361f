// What can be asked of one run: functions that know neither socket, so that the control socket and the run socket
// answer alike. Any thread; they throw Error, which the server makes an answer of.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/daemon/http_server.hpp"
#include "runner/pipeline/pipeline.hpp"

namespace runner::daemon {

struct RunCall {
  pipeline::Pipeline& pipeline;
  std::string run;    // its id; whoever asks may
  std::string asker;  // the run whose script asks; empty: the user
  const http::Request& request;
  Exchange& exchange;

  bool on_run_socket() const { return !asker.empty(); }
};
using RunHandler = void (*)(const RunCall& call);

void show_run(const RunCall& call);
void wait_for_run(const RunCall& call);
void read_log(const RunCall& call);
void list_files(const RunCall& call);
void read_file(const RunCall& call);
void cancel_run(const RunCall& call);
void fail_run(const RunCall& call);
void read_metrics(const RunCall& call);  // run_metrics.cpp
// run_family.cpp
void change_run(const RunCall& call);
void list_children(const RunCall& call);
void create_children(const RunCall& call);
void end_run(const RunCall& call);
void submit_child(const RunCall& call);

// What `runner run show` prints.
std::string document_of(pipeline::Pipeline& pipeline, const std::string& run);

// The answer to a submission.
void respond_submitted(pipeline::Pipeline& pipeline, pipeline::Pipeline::Submitted submitted, Exchange& exchange);

// A page of a list of runs, with the newest value of each metric.
std::string run_list(pipeline::Pipeline& pipeline, const store::RunFilter& filter);

// On both sockets: `rest` is what follows /v1/runs/{run} in the path, its segments with their slashes.
struct RunRoute {
  std::string_view method;
  std::string_view rest;
  RunHandler handler;
};
const std::vector<RunRoute>& run_routes();

// What is behind /v1/runs/{run} in the request's path, as in RunRoute; nothing if that is not how it begins.
std::optional<std::string> rest_of(const http::Request& request);
// The route of the request. Nothing for a path that is none of these; `wrong_method` is set for one that is, with
// another method.
const RunRoute* find_run_route(const http::Request& request, bool& wrong_method);
http::Response method_not_allowed(const std::string& method);

}  // namespace runner::daemon
