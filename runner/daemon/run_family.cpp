// What may change of a run, its children, and the end of those that no script of ours is executed for.
#include "runner/api/run_document.hpp"
#include "runner/api/run_requests.hpp"
#include "runner/api/submission.hpp"
#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/run_handlers.hpp"
#include "runner/daemon/run_queries.hpp"

namespace runner::daemon {
namespace {

std::string list_of(pipeline::Pipeline& pipeline, std::vector<RunRecord> runs, bool with_metrics,
                    const std::vector<std::string>& warnings, const std::optional<std::int64_t>& next) {
  std::vector<api::ListedRun> listed;
  listed.reserve(runs.size());
  for (RunRecord& run : runs) {
    auto metrics = with_metrics ? last_metrics_of(pipeline.history(), run.id) : std::vector<api::MetricSeries>();
    run.status_reason = pipeline.waiting_reason(run);
    listed.push_back({.run = std::move(run), .last_metrics = std::move(metrics)});
  }
  return api::run_list_document(listed, warnings, next ? std::optional(std::to_string(*next)) : std::nullopt);
}

}  // namespace

std::string run_list(pipeline::Pipeline& pipeline, const store::RunFilter& filter) {
  std::vector<std::string> warnings;
  store::RunPage page = pipeline.history().page(filter, [&](const std::string& id, const std::string& why) {
    warnings.push_back("run " + id + " is not listed: " + why + "; `runner fsck` tells more");
  });
  return list_of(pipeline, std::move(page.runs), true, warnings, page.next);
}

void change_run(const RunCall& call) {
  call.pipeline.change(call.run, api::parse_run_patch(call.request.body));
  call.exchange.respond({.status = 200, .body = document_of(call.pipeline, call.run)});
}

void list_children(const RunCall& call) {
  for (const char* not_here : {"parent", "children"})
    if (call.request.parameter(not_here))
      throw Error(ErrorCode::kInvalid, std::string("query: unknown parameter '") + not_here + "'",
                  "the path says whose children are meant");
  store::RunFilter filter = filter_of(call.request, call.pipeline.history());
  filter.parent = call.run;
  call.exchange.respond({.status = 200, .body = run_list(call.pipeline, filter)});
}

void create_children(const RunCall& call) {
  auto children = call.pipeline.add_children(call.run, api::parse_children(call.request.body));
  call.exchange.respond({.status = 200, .body = list_of(call.pipeline, std::move(children), false, {}, {})});
}

void submit_child(const RunCall& call) {
  auto& [pipeline, run, asker, request, exchange] = call;
  if (call.on_run_socket())
    return respond_submitted(pipeline, pipeline.submit_child(asker, run, api::parse_child_submission(request.body)),
                             exchange);
  api::Submission submission = api::parse_submission(request.body);
  if (submission.parent_run_id && *submission.parent_run_id != run)
    throw Error(ErrorCode::kInvalid, "submission: 'parentRunId' is another run than the path's", "leave it out");
  if (const RunRecord parent = pipeline.history().get(run); is_final(parent.status))
    throw Error(ErrorCode::kConflict, "run " + run + " has ended", "a run that has ended gets no children");
  submission.parent_run_id = run;
  respond_submitted(pipeline, pipeline.submit(submission, notices_to(request, exchange)), exchange);
}

void end_run(const RunCall& call) {
  call.pipeline.end_run(call.run, api::parse_end(call.request.body));
  call.exchange.respond({.status = 200, .body = document_of(call.pipeline, call.run)});
}

}  // namespace runner::daemon
