#include "runner/cli/show.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kLabelWidth = 13;
constexpr std::size_t kDigestDigits = 12;  // enough to recognise one, as git shows commits

// Collects "label   value" lines; values that are empty leave no line.
class Page {
 public:
  void heading(const std::string& text) { text_.append("\n").append(coloured(text, Colour::kBold)).append("\n"); }
  void line(const std::string& label, const std::string& value, Colour colour = Colour::kNone) {
    if (value.empty()) return;
    raw(label, coloured(printable(value), colour));
  }
  // Of a text with several lines each on its own; the label stands before the first.
  void lines(const std::string& label, const std::string& text, Colour colour) {
    for (std::size_t begin = 0; begin <= text.size();) {
      const auto end = std::min(text.find('\n', begin), text.size());
      line(begin == 0 ? label : "", text.substr(begin, end - begin), colour);
      begin = end + 1;
    }
  }
  void item(const std::string& value) { text_.append("  ").append(printable(value)).append("\n"); }
  std::string text() && { return std::move(text_); }

 private:
  void raw(const std::string& label, const std::string& value) {
    const std::string shown = printable(label);
    const std::size_t width = display_width(shown);
    text_.append("  ").append(shown).append(width < kLabelWidth ? kLabelWidth - width : 0, ' ');
    text_.append(" ").append(value).append("\n");
  }
  std::string text_;
};

std::string joined(const std::string& separator, std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string& part : parts) {
    if (part.empty()) continue;
    text.append(text.empty() ? "" : separator).append(part);
  }
  return text;
}

std::string joined_texts(const Json& list) {
  std::string text;
  for (const Json& item : list) text.append(text.empty() ? "" : ", ").append(scalar_text(item));
  return text;
}

std::string size_text(const Json& object, const char* key) {
  const auto bytes = number_at(object, key);
  return bytes ? format_size(static_cast<std::int64_t>(*bytes)) : std::string();
}

std::string time_text(const Json& run, const char* key) {
  std::string text = text_at(run, key);
  if (const auto point = text.find('.'); point != std::string::npos)
    text = text.substr(0, point) + "Z";  // whole seconds
  return text;
}

// The command as a shell would take it.
std::string command_text(const Json& definition) {
  std::string text = text_at(definition, "script");
  if (!text.empty()) text = shell_quoted(text);
  for (const char* key : {"command", "arguments"})
    for (const Json& word : member(definition, key))
      if (word.is_string()) text.append(text.empty() ? "" : " ").append(shell_quoted(word.get<std::string>()));
  return text;
}

// "sha256:0123…" as docker lists it; nothing until the image is resolved.
std::string short_image_id(const Json& image) {
  const std::string id = text_at(image, "id");
  return id.substr(id.find(':') + 1).substr(0, kDigestDigits);
}

void add_definition(Page& page, const Json& run) {
  const Json& definition = member(run, "runDefinition");
  page.line("command", command_text(definition));
  page.line("source", text_at(definition, "sourceDirectory"));
  page.line("config", text_at(definition, "config"));
  page.line("snapshot", text_at(run, "snapshotId").substr(0, kDigestDigits));
  const Json& git = member(run, "git");
  if (git.is_object()) {
    const Json& dirty = member(git, "dirty");
    page.line("git", joined(" ", {text_at(git, "branch"), text_at(git, "commit").substr(0, kDigestDigits),
                                  dirty.is_boolean() && dirty.get<bool>() ? "(with uncommitted changes)" : "",
                                  text_at(git, "remote")}));
    const auto kept = [&](const char* key) {
      const Json& file = member(git, key);
      return file.is_object() ? text_at(file, "name") + " (" + size_text(file, "bytes") + ")" : std::string();
    };
    page.line("kept with it", joined(", ", {kept("patch"), kept("untrackedFiles")}));
  }
  const Json& environment = member(run, "environment");
  const std::string python = text_at(environment, "pythonVersion");
  page.line("environment", joined(" · ", {text_at(environment, "name"), text_at(environment, "interpreter"),
                                          python.empty() ? "" : "Python " + python}));
  page.line("image", joined(" · ", {text_at(definition, "image"), short_image_id(member(environment, "image"))}));
  page.line("isolation", text_at(run, "isolation"));
  const auto limit = number_at(definition, "maxRunDurationSeconds");
  page.line("limits",
            joined(", ", {limit ? "at most " + scalar_text(*limit) + " s" : "",
                          number_at(definition, "cpus") ? scalar_text(member(definition, "cpus")) + " CPUs" : "",
                          number_at(definition, "memoryBytes") ? size_text(definition, "memoryBytes") + " memory" : "",
                          number_at(definition, "pids") ? scalar_text(member(definition, "pids")) + " processes" : "",
                          text_at(definition, "network") == "off" ? "no network" : ""}));
  page.line("gpus", joined_texts(member(run, "gpus")));
}

std::string with(const std::string& value, const char* words) { return value.empty() ? value : value + words; }

std::string two_digits(const Json& object, const char* key) {
  const auto value = number_at(object, key);
  return value ? fmt::format("{:.2f}", *value) : std::string();
}

// Of the whole run, or of what has been sampled so far.
void add_usage(Page& page, const Json& usage) {
  page.line("CPU", joined(", ", {with(two_digits(usage, "cpuSeconds"), " s in all"),
                                 with(two_digits(usage, "meanCpus"), " CPUs in the mean"),
                                 with(two_digits(usage, "peakCpus"), " at most")}));
  page.line("memory", joined(", ", {with(size_text(usage, "meanMemoryBytes"), " in the mean"),
                                    with(size_text(usage, "peakMemoryBytes"), " at most")}));
  page.line("disk", joined(", ", {with(size_text(usage, "readBytes"), " read"),
                                  with(size_text(usage, "writtenBytes"), " written")}));
}

void add_outcome(Page& page, const Json& run) {
  const Json& outcome = member(run, "outcome");
  add_usage(page, outcome.is_object() ? outcome : member(run, "usage"));
  page.line("message", text_at(outcome, "message"));
  page.line("post-mortem", post_mortem_command(run));
  const Json& error = member(run, "error");
  if (error.is_object()) {
    page.lines("error", text_at(error, "message"), Colour::kRed);
    page.line("hint", text_at(error, "hint"));
  }
  for (const Json& notice : member(run, "notices")) page.line("notice", scalar_text(notice), Colour::kYellow);
}

std::string metric_summary(const Json& value) {
  const std::string last = metric_text(value);
  if (!value.is_array() || value.size() < 2) return last;
  std::string text = last + "  (" + std::to_string(value.size()) + " values";
  double least = 0, most = 0;
  bool any = false;
  for (const Json& item : value) {
    if (!item.is_number()) continue;
    const double number = item.get<double>();
    least = any ? std::min(least, number) : number;
    most = any ? std::max(most, number) : number;
    any = true;
  }
  if (any) text.append(", ").append(scalar_text(least)).append(" to ").append(scalar_text(most));
  return text.append(")");
}

}  // namespace

std::string run_page(const Json& run, UtcTime now) {
  Page page;
  const std::string status = text_at(run, "status");
  page.line("run", text_at(run, "runId"), Colour::kBold);
  if (text_at(run, "name") != text_at(run, "runId")) page.line("name", text_at(run, "name"));
  page.line("experiment", text_at(run, "experiment"));
  page.line("status", status_with_reason(run), colour_of_status(status));
  for (const Json& attempt : member(run, "earlierAttempts"))
    page.line("attempt " + scalar_text(member(attempt, "attempt")), text_at(attempt, "reason"));
  page.line("parent", text_at(run, "parentRunId"));
  page.line("created", time_text(run, "createdTimeUtc") + " (" + age_text(run, now) + " ago)");
  page.line("started", time_text(run, "startTimeUtc"));
  page.line("ended", time_text(run, "endTimeUtc"));
  page.line("duration", duration_text(run));
  add_definition(page, run);
  add_outcome(page, run);
  page.line("tags", tags_text(run));
  for (const auto& [key, value] : member(run, "properties").items())
    if (!key.starts_with("azureml.git.") && !key.starts_with("mlflow.source.git."))  // said above
      page.line("property", key + "=" + scalar_text(value));
  if (const Json& metrics = member(run, "metrics"); metrics.is_object() && !metrics.empty()) {
    page.heading("metrics");
    for (const auto& [name, value] : metrics.items()) page.line(name, metric_summary(value));
  }
  if (const Json& outputs = member(run, "outputs"); outputs.is_array() && !outputs.empty()) {
    page.heading("outputs");
    for (const Json& output : outputs) page.line(size_text(output, "bytes"), text_at(output, "name"));
  }
  if (const Json& logs = member(run, "logFiles"); logs.is_array() && !logs.empty()) {
    page.heading("logs");
    for (const Json& log : logs) page.item(scalar_text(log));
  }
  return std::move(page).text();
}

int run(Session& session, const ShowOptions& options) {
  const std::string answer = session.get(run_target(options.run));
  print(session.json() ? json_text(answer) : run_page(parse_document(answer), utc_now()));
  return 0;
}

}  // namespace runner::cli
