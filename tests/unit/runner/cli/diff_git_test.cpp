// What `run diff A B --git` shows of two runs.
#include "runner/cli/diff_git.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using runner::cli::git_comparison;
using runner::cli::git_comparison_document;
using runner::cli::GitSide;

namespace {

GitSide side(const std::string& id, const std::string& commit, bool dirty, std::string patch = {},
             std::string untracked = {}) {
  const nlohmann::json run{{"runId", id},
                           {"git", {{"commit", commit}, {"branch", "main"}, {"dirty", dirty}, {"remote", nullptr}}}};
  return {.run = run.dump(), .patch = std::move(patch), .untracked = std::move(untracked)};
}

}  // namespace

TEST_CASE("two clean runs are two lines") {
  CHECK(git_comparison(side("a_1", "0123456789abcdef", false), side("b_2", "fedcba9876543210", false)) ==
        "A a_1  main 0123456789ab\nB b_2  main fedcba987654\n");
}

TEST_CASE("a change that both have is shown once, what differs of each") {
  const std::string head =
      "A a_1  main 0123456789ab (with uncommitted changes)\nB b_2  main 0123456789ab "
      "(with uncommitted changes)\n";
  CHECK(git_comparison(side("a_1", "0123456789ab", true, "+x\ty\n", "n\nboth\n"),
                       side("b_2", "0123456789ab", true, "+x\ty\n", "both\n")) ==
        head + "\nboth with the same uncommitted change\n+x\ty\n\nuntracked files of one of them\nA n\n");
  CHECK(git_comparison(side("a_1", "0123456789ab", true, "+x\n"), side("b_2", "0123456789ab", true, "+\x1b[2J\n")) ==
        head + "\nuncommitted change of A\n+x\n\nuncommitted change of B\n+\\x1b[2J\n");
}

TEST_CASE("a run of no repository says so, and the document has both") {
  GitSide none{.run = R"({"runId": "a_1", "git": null})", .patch = {}, .untracked = {}};
  CHECK(git_comparison(none, none).find("A a_1  no git repository\n") == 0);
  const auto document = nlohmann::json::parse(git_comparison_document(none, side("b_2", "0123", true, "+x\n", "n\n")));
  CHECK(document["sameCommit"] == false);
  CHECK(document["sameChange"] == false);
  CHECK(document["a"]["git"].is_null());
  CHECK(document["b"]["patch"] == "+x\n");
  CHECK(document["b"]["untracked"] == nlohmann::json{"n"});
}
