// Verifying everything that is stored.
#include <nlohmann/json.hpp>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/line_answer.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

constexpr int kProblemsLeft = 1;  // exit status

std::string number(const Json& object, const char* key) {
  return std::to_string(static_cast<std::int64_t>(number_at(object, key).value_or(0)));
}

bool is_repaired(const Json& problem) {
  const Json& repaired = member(problem, "repaired");
  return repaired.is_boolean() && repaired.get<bool>();
}

std::string problem_text(const Json& problem) {
  std::string text = is_repaired(problem) ? coloured("repaired", Colour::kGreen) : coloured("problem ", Colour::kRed);
  text += "  " + printable(text_at(problem, "problem"));
  const Json& runs = member(problem, "runs");
  std::string names;
  for (const Json& run : runs)
    if (run.is_string()) names += (names.empty() ? "" : ", ") + printable(run.get<std::string>());
  if (names.empty()) return text + "\n";
  const auto count = static_cast<std::int64_t>(number_at(problem, "runCount").value_or(0));
  if (count > static_cast<std::int64_t>(runs.size()))
    names += " and " + std::to_string(count - static_cast<std::int64_t>(runs.size())) + " more";
  return text + " (needed by " + names + ")\n";
}

}  // namespace

int run(Session& session, const FsckOptions& options) {
  const Json report = post_for_lines(session, "/v1/fsck", {{"repair", options.repair}});
  std::int64_t left = 0;
  std::int64_t repaired = 0;
  std::string text;
  for (const Json& problem : member(report, "problems")) {
    ++(is_repaired(problem) ? repaired : left);
    text += problem_text(problem);
  }
  if (session.json()) {
    print(json_text(dump_document(report)));
    return left > 0 ? kProblemsLeft : 0;
  }
  text += "checked " + number(report, "contents") + " contents (" +
          format_size(static_cast<std::int64_t>(number_at(report, "contentBytes").value_or(0))) + "), " +
          number(report, "trees") + " trees, " + number(report, "runs") + " runs, " + number(report, "checkouts") +
          " checkouts: ";
  if (left == 0 && repaired == 0)
    text += "all is well";
  else
    text += std::to_string(left) + (left == 1 ? " problem" : " problems") +
            (options.repair ? " left, " + std::to_string(repaired) + " repaired" : "");
  const Json& ledger = member(report, "ledger");
  if (const std::string head = text_at(ledger, "head"); !head.empty())
    text += "\nledger: " + number(ledger, "entries") + " entries, head " + head;
  print(text + "\n");
  if (left > 0 && !options.repair)
    print_error("hint: `runner fsck --repair` reads again what checkouts and source directories still have\n");
  return left > 0 ? kProblemsLeft : 0;
}

}  // namespace runner::cli
