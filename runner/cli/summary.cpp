#include "runner/cli/summary.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/run.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kShownMetrics = 6;  // as many as fit beside each other; `runner show` has all

std::string metrics_line(const Json& run) {
  std::string line;
  std::size_t shown = 0;
  const Json& metrics = member(run, "metrics");
  for (const auto& [name, value] : metrics.items()) {
    if (shown++ == kShownMetrics) return line + "  … (" + std::to_string(metrics.size()) + " in all)";
    line += (line.empty() ? "" : "  ") + printable(name) + "=" + printable(metric_text(value));
  }
  return line;
}

std::string outputs_line(const Json& run) {
  const Json& outputs = member(run, "outputs");
  if (!outputs.is_array() || outputs.empty()) return {};
  std::int64_t bytes = 0;
  for (const Json& output : outputs) bytes += static_cast<std::int64_t>(number_at(output, "bytes").value_or(0));
  return std::to_string(outputs.size()) + (outputs.size() == 1 ? " file, " : " files, ") + format_size(bytes) +
         " ('runner run download " + short_id(text_at(run, "runId")) + "')";
}

// A build's last words are several lines.
std::string indented(const std::string& message, std::size_t columns) {
  std::string text;
  for (std::size_t begin = 0; begin <= message.size();) {
    const auto end = std::min(message.find('\n', begin), message.size());
    text += (begin == 0 ? "" : "\n" + std::string(columns, ' ')) + printable(message.substr(begin, end - begin));
    begin = end + 1;
  }
  return text;
}

}  // namespace

bool is_final_run(const Json& run) {
  const auto status = run_status_from(text_at(run, "status"));
  return status && is_final(*status);
}

std::string summary_of(const Json& run, Stream stream) {
  std::string text = "runner: run " + printable(text_at(run, "runId")) + " ";
  text += coloured(printable(status_with_reason(run)), colour_of_status(text_at(run, "status")), stream);
  if (const auto duration = duration_text(run); !duration.empty()) text += " in " + duration;
  text += "\n";
  if (const auto metrics = metrics_line(run); !metrics.empty()) text += "  metrics  " + metrics + "\n";
  if (const auto outputs = outputs_line(run); !outputs.empty()) text += "  outputs  " + outputs + "\n";
  if (const auto command = post_mortem_command(run); !command.empty())
    text += "  why      '" + printable(command) + "'\n";
  const Json& error = member(run, "error");
  // "exited with code 7" is said already by the status; anything beyond that is news.
  const std::string kind = text_at(member(run, "outcome"), "kind");
  const bool plain = (kind == "exited" || kind == "signaled") && text_at(error, "hint").empty();
  if (error.is_object() && !plain) {
    text += "  error    " + indented(text_at(error, "message"), 11) + "\n";
    if (const auto hint = text_at(error, "hint"); !hint.empty()) text += "hint: " + printable(hint) + "\n";
  }
  return text;
}

}  // namespace runner::cli
