#include "runner/cli/document.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"

namespace runner::cli {

Json parse_document(std::string_view text) {
  Json document = Json::parse(text, nullptr, false);
  if (!document.is_object()) throw Error(ErrorCode::kInternal, "the daemon's answer is not a JSON object");
  return document;
}

std::string dump_document(const Json& document) {
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json& member(const Json& object, const char* key) {
  static const Json kNull;
  if (!object.is_object()) return kNull;
  const auto at = object.find(key);
  return at == object.end() ? kNull : *at;
}

std::string text_at(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::optional<double> number_at(const Json& object, const char* key) {
  const Json& value = member(object, key);
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::string short_id(std::string_view run_id) {
  const auto underscore = run_id.rfind('_');
  return std::string(underscore == std::string_view::npos ? run_id : run_id.substr(underscore + 1));
}

int exit_code_of_run(const Json& run) {
  const Json& json = member(run, "outcome");
  if (!json.is_object()) {
    const auto status = run_status_from(text_at(run, "status"));
    if (status == RunStatus::kCompleted) return 0;
    return exit_code_of({.kind = status == RunStatus::kCanceled ? OutcomeKind::kCanceled : OutcomeKind::kLost,
                         .exit_code = {},
                         .signal = {},
                         .usage = {},
                         .message = {}});
  }
  Outcome outcome;
  outcome.kind = outcome_kind_from(text_at(json, "kind")).value_or(OutcomeKind::kLost);
  const Json& code = member(json, "exitCode");
  if (code.is_number_integer()) outcome.exit_code = code.get<int>();
  const Json& signal = member(json, "signal");
  if (signal.is_number_integer()) outcome.signal = signal.get<int>();
  return exit_code_of(outcome);
}

std::string post_mortem_command(const Json& run) {
  constexpr const char* kName = "system_logs/postmortem.txt";
  for (const Json& file : member(run, "logFiles"))
    if (file.is_string() && file.get_ref<const std::string&>() == kName)
      return "runner logs --name " + std::string(kName) + " " + short_id(text_at(run, "runId"));
  return {};
}

Colour colour_of_status(std::string_view status) {
  if (status == "Completed") return Colour::kGreen;
  if (status == "Failed") return Colour::kRed;
  if (status == "Canceled" || status == "CancelRequested") return Colour::kYellow;
  if (status == "Running" || status == "Starting" || status == "Finalizing") return Colour::kBlue;
  return Colour::kNone;
}

namespace {

std::string reason_of(const Json& run) {
  const std::string said = text_at(run, "statusReason");
  if (!said.empty()) return said;
  const Json& outcome = member(run, "outcome");
  if (!outcome.is_object()) return {};
  const std::string kind = text_at(outcome, "kind");
  if (kind == "exited") {
    const auto code = number_at(outcome, "exitCode").value_or(0);
    return code == 0 ? std::string() : "exit code " + std::to_string(static_cast<int>(code));
  }
  if (kind == "signaled") return "signal " + std::to_string(static_cast<int>(number_at(outcome, "signal").value_or(0)));
  if (kind == "timed_out") return "time limit";
  if (kind == "out_of_memory") return "out of memory";
  if (kind == "canceled") return {};
  std::string words = kind;
  for (char& c : words)
    if (c == '_') c = ' ';
  return words;
}

}  // namespace

std::string status_with_reason(const Json& run) {
  const std::string reason = reason_of(run);
  return text_at(run, "status") + (reason.empty() ? "" : " (" + reason + ")");
}

std::string duration_text(const Json& run) {
  const auto seconds = number_at(run, "durationSeconds");
  if (!seconds) return {};
  return format_duration(std::chrono::milliseconds{std::llround(*seconds * 1000)});
}

std::string age_text(const Json& run, UtcTime now) {
  const auto created = utc_from_iso8601(text_at(run, "createdTimeUtc"));
  if (!created) return {};
  const auto seconds = std::max<std::int64_t>(0, std::chrono::floor<std::chrono::seconds>(now - *created).count());
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m";
  if (seconds < 86400) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / 86400) + "d";
}

std::string scalar_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.6g", value.get<double>());
    return text.data();
  }
  if (value.is_null()) return {};
  return dump_document(value);
}

std::string metric_text(const Json& value) {
  if (value.is_object()) {  // a file, or rows
    if (value.contains("artifact")) return text_at(value, "artifact");
    return std::to_string(value.size()) + (value.size() == 1 ? " column" : " columns");
  }
  if (value.is_array()) return value.empty() ? std::string() : metric_text(value.back());
  return scalar_text(value);
}

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                          "0123456789_-+=./:,@%^") == std::string::npos;
  if (plain) return word;
  std::string text(1, '\'');
  for (const char c : word) {
    if (c == '\'') text.append("'\\'");  // close, an escaped quote, open again
    text.push_back(c);
  }
  text.push_back('\'');
  return text;
}

std::string shell_quoted(const Json& words) {
  std::string text;
  for (const Json& word : words)
    if (word.is_string()) text.append(text.empty() ? "" : " ").append(shell_quoted(word.get<std::string>()));
  return text;
}

std::string tags_text(const Json& run) {
  std::string text;
  const Json& tags = member(run, "tags");
  for (const auto& [key, value] : tags.items()) {
    if (!text.empty()) text += ' ';
    text += value.is_null() ? key : key + "=" + scalar_text(value);
  }
  return text;
}

}  // namespace runner::cli
