// The queue's commands.
#include <nlohmann/json.hpp>

#include "runner/cli/change.hpp"
#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

bool has_gpus(const Json& queue) { return number_at(member(queue, "gpus"), "total").value_or(0) > 0; }

// "1 runs, 2 wait; 0.5 of 4 CPUs free"
std::string summary_of(const Json& queue) {
  const Json& cpus = member(queue, "cpus");
  return std::to_string(member(queue, "running").size()) + " running, " +
         std::to_string(member(queue, "items").size()) + " waiting; " + scalar_text(member(cpus, "free")) + " of " +
         scalar_text(member(cpus, "total")) + " CPUs" +
         (has_gpus(queue) ? " and " + scalar_text(member(member(queue, "gpus"), "free")) + " of " +
                                scalar_text(member(member(queue, "gpus"), "total")) + " GPUs"
                          : "") +
         " free";
}

bool is_paused(const Json& queue) {
  const Json& paused = member(queue, "paused");
  return paused.is_boolean() && paused.get<bool>();
}

int hold(Session& session, const char* target) {
  const std::string answer = session.post(target, "");
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const Json queue = parse_document(answer);
  print(std::string(is_paused(queue) ? "paused" : "not paused") + ": " + summary_of(queue) + "\n");
  return 0;
}

}  // namespace

int run(Session& session, const QueueListOptions&) {
  const std::string answer = session.get("/v1/queue");
  if (session.json()) {
    print(json_text(answer));
    return 0;
  }
  const Json queue = parse_document(answer);
  const std::string held_for = text_at(queue, "heldFor");
  print_error("runner: " + summary_of(queue) + (is_paused(queue) ? "; paused: `runner queue resume`" : "") +
              (held_for.empty() ? "" : "; held: " + printable(held_for)) + "\n");
  Table table({{.title = "RUN"},
               {.title = "PRIORITY", .right = true},
               {.title = "CPUS", .right = true},
               {.title = "MEMORY", .right = true},
               {.title = "WHY IT WAITS", .least = 20}});
  for (const Json& run : member(queue, "items")) {
    const auto memory = number_at(run, "memoryBytes");
    table.add({{text_at(run, "runId")},
               {scalar_text(member(run, "priority"))},
               {scalar_text(member(run, "cpus"))},
               {memory ? format_size(static_cast<std::int64_t>(*memory)) : ""},
               {text_at(run, "reason"), Colour::kDim}});
  }
  if (!table.empty()) print(table.text(terminal_width()));
  return 0;
}

int run(Session& session, const QueuePauseOptions&) { return hold(session, "/v1/queue/pause"); }

int run(Session& session, const QueueResumeOptions&) { return hold(session, "/v1/queue/resume"); }

int run(Session& session, const QueueMoveOptions& options) {
  const Json body = options.before ? Json{{"before", *options.before}} : Json{{"to", options.first ? "first" : "last"}};
  return change_runs(session, {options.run}, "move", dump_document(body));
}

}  // namespace runner::cli
