// submit and rerun. The hot path: one connection, three requests (submit, log, show), nothing else.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/follow.hpp"
#include "runner/cli/plan.hpp"
#include "runner/cli/submission.hpp"
#include "runner/cli/summary.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

constexpr int kInterruptedExit = 130;  // 128 + SIGINT, as if the shell had ended us

void print_notices(const Json& run) {
  for (const Json& notice : member(run, "notices"))
    if (notice.is_string()) print_error("runner: warning: " + printable(notice.get<std::string>()) + "\n");
}

int stop_following(Session& session, InterruptGuard& guard, const std::string& id) {
  const std::string tail = short_id(id);
  print_error("\nrunner: run " + id + " goes on; Ctrl-C again within 2 s cancels it ('runner logs -f " + tail +
              "' follows it)\n");
  if (!guard.pressed_again()) return kInterruptedExit;
  session.interrupt_on(-1);
  session.post(run_target(id, "/cancel"), R"({"reason":"Ctrl-C"})");
  print_error("runner: run " + id + " is being canceled\n");
  return kInterruptedExit;
}

// Of an environment that is not here yet there is more to say than silence. A repetition knows which it is, and not
// whether it is still here.
bool may_be_prepared(const Json& run) {
  const Json& environment = member(run, "environment");
  const std::string kind = text_at(environment, "kind");
  if (kind == "interpreter" || kind == "none") return false;
  return member(environment, kind == "image" ? "image" : "lockDigest").is_null() ||
         member(run, "properties").contains("runner.rerunOf");
}

// The daemon has acknowledged a run with `answer`: follows it, unless it is left alone.
int follow_submitted(Session& session, const std::string& answer, const SubmitOptions& options) {
  const Json submitted = parse_document(answer);
  const std::string id = text_at(submitted, "runId");
  print_notices(submitted);
  if (options.detach) {
    print(session.json() ? json_text(answer) : id + "\n");
    return 0;
  }
  print_error(coloured("runner: run " + printable(id), Colour::kDim, Stream::kError) + "\n");
  InterruptGuard guard(session);
  std::string ended;
  try {
    if (may_be_prepared(submitted) || !text_at(submitted, "statusReason").empty()) follow_progress(session, id);
    follow_log(session, {.run = id,
                         .file = {},
                         .attempt = 1,
                         .output = session.json() ? STDERR_FILENO : STDOUT_FILENO,
                         .raw = options.raw});
    // The log ends when the run is final; should a daemon disagree, the run is awaited.
    ended = session.get_patiently(run_target(id));
    if (!is_final_run(parse_document(ended))) ended = session.get_patiently(run_target(id, "/wait"));
  } catch (const http::Interrupted&) {
    return stop_following(session, guard, id);
  }
  const Json run = parse_document(ended);
  if (session.json()) print(json_text(ended));
  print_error(summary_of(run, Stream::kError));
  return exit_code_of_run(run);
}

}  // namespace

int run(Session& session, const SubmitOptions& options) {
  const std::string document = submission_document(options, this_caller());
  if (options.dry_run) return show_plan(session, session.post("/v1/dry-run", document));
  return follow_submitted(session, session.post_with_notices("/v1/runs", document), options);
}

int run(Session& session, const RerunOptions& options) {
  const std::string target = run_target(options.run, "/rerun");
  return follow_submitted(session, session.post(target, rerun_document(options, this_caller())), options.overrides);
}

}  // namespace runner::cli
