#include "store/database_check.hpp"

#include <algorithm>
#include <string_view>

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

// Of a kind: one broken page can be thousands. SQLite looks at the pages of all tables before it looks at their rows.
constexpr int kMostProblems = 100;

constexpr std::string_view kDamagedInStructure =
    " is damaged in its structure: a repair writes nothing to it; copy what can be read with `sqlite3 FILE .recover`, "
    "or put back a backup";

bool is_of_an_index(std::string_view finding) {
  return (finding.starts_with("row ") && finding.find(" missing from index ") != std::string_view::npos) ||
         finding.starts_with("wrong # of entries in index ");
}

// A finding of integrity_check that says nothing about pages.
bool is_of_a_row(std::string_view finding) {
  return is_of_an_index(finding) || finding.starts_with("CHECK constraint failed in ") ||
         finding.starts_with("NULL value in ");
}

}  // namespace

std::vector<std::string> check_database(const Database& database) {
  std::vector<std::string> problems;
  const std::string file = database.path().filename().string();
  const auto attempt = [&](const auto& step) {
    try {
      step();
    } catch (const Error& error) {  // an adapter's: what SQLite cannot read is what is looked for
      problems.push_back(error.message());
      return false;
    }
    return true;
  };
  bool sound = false;
  attempt([&] {
    Connection connection(database.path(), Connection::Mode::kReadOnly);
    attempt([&] {
      const int version = refuse_foreign(connection, database.schema());
      if (version != database.schema().version)
        problems.push_back(file + ": schema version " + std::to_string(version) + " instead of " +
                           std::to_string(database.schema().version));
    });
    bool of_rows = true;
    sound = attempt([&] {
      Query query = connection.query_once("PRAGMA integrity_check(" + std::to_string(kMostProblems) + ")");
      while (query.next()) {
        if (query.text(0) == "ok") continue;
        problems.push_back(file + ": " + query.string(0));
        of_rows = of_rows && is_of_a_row(query.text(0));
      }
    });
    sound = sound && of_rows;
    attempt([&] {
      Query query = connection.query_once("PRAGMA foreign_key_check");
      for (int count = 0; count < kMostProblems && query.next(); ++count)
        problems.push_back(file + ": a row of " + query.string(0) + " names a missing row of " + query.string(2));
    });
  });
  if (!sound) problems.insert(problems.begin(), file + std::string(kDamagedInStructure));
  return problems;
}

bool is_damaged_in_structure(const std::vector<std::string>& findings) {
  return !findings.empty() && findings.front().ends_with(kDamagedInStructure);
}

bool would_reindex_help(const std::vector<std::string>& findings) {
  constexpr std::string_view kBehindFile = ": ";
  return !is_damaged_in_structure(findings) &&
         std::any_of(findings.begin(), findings.end(), [&](std::string_view finding) {
           const auto at = finding.find(kBehindFile);
           return at != std::string_view::npos && is_of_an_index(finding.substr(at + kBehindFile.size()));
         });
}

}  // namespace runner::store
