#include "runner/cli/change.hpp"
#include "runner/cli/commands.hpp"

namespace runner::cli {

int run(Session& session, const PauseOptions& options) { return change_runs(session, options.runs, "pause", {}); }

int run(Session& session, const ResumeOptions& options) { return change_runs(session, options.runs, "resume", {}); }

}  // namespace runner::cli
