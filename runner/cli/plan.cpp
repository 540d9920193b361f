#include "runner/cli/plan.hpp"

#include <nlohmann/json.hpp>

#include "runner/cli/terminal.hpp"
#include "runner/core/time.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kSizeWidth = 10;  // "1023.9 MiB"
constexpr std::size_t kLabelWidth = 12;

// As `ls -F` marks them.
const char* mark_of(const std::string& type) {
  if (type == "executable") return "*";
  return type == "symlink" ? "@" : "";
}

std::string files_text(const Json& plan) {
  std::string text;
  for (const Json& file : member(plan, "files")) {
    const std::string size = format_size(static_cast<std::int64_t>(number_at(file, "bytes").value_or(0)));
    text.append(size.size() < kSizeWidth ? kSizeWidth - size.size() : 0, ' ').append(size).append("  ");
    text.append(printable(text_at(file, "path"))).append(mark_of(text_at(file, "type"))).append("\n");
  }
  const auto count = static_cast<std::int64_t>(number_at(plan, "fileCount").value_or(0));
  text += std::to_string(count) + (count == 1 ? " file, " : " files, ") +
          format_size(static_cast<std::int64_t>(number_at(plan, "totalBytes").value_or(0))) + "\n";
  return text;
}

std::string environment_text(const Json& plan) {
  const Json& environment = member(plan, "environment");
  const Json& cached = member(environment, "cached");
  const bool present = cached.is_boolean() && cached.get<bool>();
  const std::string kind = text_at(environment, "kind");
  if (kind == "image") {
    const std::string id = text_at(member(environment, "image"), "id");
    return "image " + text_at(environment, "name") +
           (present ? " (" + id.substr(0, id.find(':') + 13) + ", on this machine)"
                    : " (not here: it would be pulled)");
  }
  if (kind == "interpreter")
    return text_at(environment, "interpreter") + ", Python " + text_at(environment, "pythonVersion") +
           " (on this machine)";
  if (kind == "none") return "none is needed";
  const std::string digest = text_at(environment, "digest");
  return kind + " " + digest.substr(0, digest.find(':') + 13) + (present ? " (cached)" : " (would be built)");
}

// Of several candidates the image decides; the first is the likely one.
std::string command_text(const Json& plan) {
  std::string text;
  for (const Json& candidate : member(plan, "interpreterCandidates"))
    if (candidate.is_string()) text.append(text.empty() ? "" : "|").append(shell_quoted(candidate.get<std::string>()));
  return text + (text.empty() ? "" : " ") + shell_quoted(member(plan, "command"));
}

std::string limits_text(const Json& definition) {
  std::string text;
  const auto add = [&text](const std::string& part) { text.append(text.empty() ? "" : ", ").append(part); };
  if (const auto limit = number_at(definition, "maxRunDurationSeconds")) add("at most " + scalar_text(*limit) + " s");
  if (number_at(definition, "cpus")) add(scalar_text(member(definition, "cpus")) + " CPUs");
  if (const auto bytes = number_at(definition, "memoryBytes"))
    add(format_size(static_cast<std::int64_t>(*bytes)) + " memory");
  if (number_at(definition, "pids")) add(scalar_text(member(definition, "pids")) + " processes");
  if (const auto bytes = number_at(definition, "shmBytes"))
    add(format_size(static_cast<std::int64_t>(*bytes)) + " /dev/shm");
  if (text_at(definition, "network") == "off") add("no network");
  return text.empty() ? "none" : text;
}

}  // namespace

std::string plan_page(const Json& plan) {
  std::string text = files_text(plan);
  const auto line = [&text](std::string label, const std::string& value) {
    label.resize(kLabelWidth, ' ');
    text.append(label).append(" ").append(printable(value)).append("\n");
  };
  const Json& definition = member(plan, "runDefinition");
  line("environment", environment_text(plan));
  line("command", command_text(plan));
  line("directory", text_at(plan, "workingDirectory"));
  line("isolation", text_at(plan, "isolation"));
  line("limits", limits_text(definition));
  for (const Json& mount : member(definition, "mounts")) {
    const Json& writable = member(mount, "writable");
    line("mount", text_at(mount, "source") + ":" + text_at(mount, "target") +
                      (writable.is_boolean() && writable.get<bool>() ? ":rw" : ":ro"));
  }
  for (const auto& [name, value] : member(definition, "environmentVariables").items())
    line("variable", name + "=" + shell_quoted(scalar_text(value)));
  for (const Json& secret : member(definition, "secrets")) line("secret", scalar_text(secret));
  return text;
}

int show_plan(Session& session, const std::string& answer) {
  const Json plan = session.json() ? Json() : parse_document(answer);
  for (const Json& warning : member(plan, "warnings"))
    if (warning.is_string()) print_error("runner: warning: " + printable(warning.get<std::string>()) + "\n");
  print(session.json() ? json_text(answer) : plan_page(plan));
  return 0;
}

}  // namespace runner::cli
