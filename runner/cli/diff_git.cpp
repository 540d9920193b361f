#include "runner/cli/diff_git.hpp"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/cli/document.hpp"
#include "runner/cli/terminal.hpp"

namespace runner::cli {
namespace {

constexpr std::size_t kCommitDigits = 12;  // as `run show`

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string stored_file(Session& session, const std::string& run, const Json& file) {
  if (!file.is_object()) return {};
  std::string content;
  session.client().stream("GET", run_target(run, "/file?name=" + http::percent_encode(text_at(file, "name"))),
                          [&](std::span<const std::byte> piece) {
                            content.append(reinterpret_cast<const char*>(piece.data()), piece.size());
                          });
  return content;
}

GitSide side_of(Session& session, const std::string& name) {
  GitSide side{.run = session.get(run_target(name)), .patch = {}, .untracked = {}};
  const Json run = parse_document(side.run);
  const std::string id = text_at(run, "runId");
  const Json& git = member(run, "git");
  side.patch = stored_file(session, id, member(git, "patch"));
  side.untracked = stored_file(session, id, member(git, "untrackedFiles"));
  return side;
}

// "main 0123456789ab (with uncommitted changes) https://…"
std::string state_text(const Json& run) {
  const Json& git = member(run, "git");
  if (!git.is_object()) return "no git repository";
  std::string text = text_at(git, "branch");
  const auto add = [&text](const std::string& part) {
    if (!part.empty()) text.append(text.empty() ? "" : " ").append(part);
  };
  const std::string commit = text_at(git, "commit").substr(0, kCommitDigits);
  add(commit.empty() ? "no commit" : commit);
  const Json& dirty = member(git, "dirty");
  if (dirty.is_boolean() && dirty.get<bool>()) add("(with uncommitted changes)");
  add(text_at(git, "remote"));
  return text;
}

std::string side_line(const char* mark, const Json& run, Colour colour) {
  return coloured(std::string(mark) + " " + printable(text_at(run, "runId")), colour) + "  " +
         printable(state_text(run)) + "\n";
}

void append_patch(std::string& text, const std::string& patch) {
  for (const std::string& line : lines_of(patch)) {
    Colour colour = Colour::kNone;
    if (line.starts_with("diff --git ") || line.starts_with("# runner: ")) colour = Colour::kBold;
    text.append(coloured(printable_with_tabs(line), colour)).append("\n");
  }
}

std::vector<std::string> only_in(const std::string& one, const std::string& other) {
  std::vector<std::string> here = lines_of(one);
  std::vector<std::string> there = lines_of(other);
  std::sort(here.begin(), here.end());
  std::sort(there.begin(), there.end());
  std::vector<std::string> only;
  std::set_difference(here.begin(), here.end(), there.begin(), there.end(), std::back_inserter(only));
  return only;
}

std::string heading(const std::string& text) { return "\n" + coloured(text, Colour::kBold) + "\n"; }

bool same_text(const Json& a, const Json& b, const char* key) {
  return text_at(member(a, "git"), key) == text_at(member(b, "git"), key);
}

}  // namespace

std::string git_comparison(const GitSide& a, const GitSide& b) {
  std::string text =
      side_line("A", parse_document(a.run), Colour::kRed) + side_line("B", parse_document(b.run), Colour::kGreen);
  if (a.patch == b.patch) {
    if (!a.patch.empty()) {
      text += heading("both with the same uncommitted change");
      append_patch(text, a.patch);
    }
  } else {
    for (const auto& [mark, side] : {std::pair{"A", &a}, std::pair{"B", &b}}) {
      text += heading(std::string("uncommitted change of ") + mark + (side->patch.empty() ? ": none" : ""));
      append_patch(text, side->patch);
    }
  }
  const auto gone = only_in(a.untracked, b.untracked);
  const auto came = only_in(b.untracked, a.untracked);
  if (!gone.empty() || !came.empty()) text += heading("untracked files of one of them");
  for (const std::string& path : gone) text += coloured("A " + printable(path), Colour::kRed) + "\n";
  for (const std::string& path : came) text += coloured("B " + printable(path), Colour::kGreen) + "\n";
  return text;
}

std::string git_comparison_document(const GitSide& a, const GitSide& b) {
  const Json a_run = parse_document(a.run);
  const Json b_run = parse_document(b.run);
  const auto side = [](const Json& run, const GitSide& of) {
    Json document;
    document["runId"] = text_at(run, "runId");
    document["git"] = member(run, "git");
    document["patch"] = of.patch;
    document["untracked"] = lines_of(of.untracked);
    return document;
  };
  Json document;
  document["a"] = side(a_run, a);
  document["b"] = side(b_run, b);
  document["sameCommit"] = same_text(a_run, b_run, "commit");
  document["sameBranch"] = same_text(a_run, b_run, "branch");
  document["sameChange"] = a.patch == b.patch && a.untracked == b.untracked;
  return dump_document(document) + "\n";
}

int diff_git(Session& session, const std::string& a, const std::string& b) {
  const GitSide first = side_of(session, a);
  const GitSide second = side_of(session, b);
  print(session.json() ? git_comparison_document(first, second) : git_comparison(first, second));
  return 0;
}

}  // namespace runner::cli
