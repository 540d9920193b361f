// `runner run diff A B --git`: where the two runs' sources came from.
#pragma once

#include <string>

#include "runner/cli/session.hpp"

namespace runner::cli {

// Commit, branch and remote of both; then the change that was stored with each, or once if it is the same; then the
// untracked files that only one of them had. With --json a document {a, b, same…}. Error(kNotFound) for an unknown run.
int diff_git(Session& session, const std::string& a, const std::string& b);

// One side as it is shown; for tests.
struct GitSide {
  std::string run;        // `show --json`
  std::string patch;      // git/diff.patch, empty: none
  std::string untracked;  // git/untracked.txt
};
std::string git_comparison(const GitSide& a, const GitSide& b);
std::string git_comparison_document(const GitSide& a, const GitSide& b);

}  // namespace runner::cli
