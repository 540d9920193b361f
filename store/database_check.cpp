#include "store/database_check.hpp"

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

constexpr int kMostProblems = 100;  // of a kind: one broken page can be thousands

}  // namespace

std::vector<std::string> check_database(const Database& database) {
  std::vector<std::string> problems;
  const std::string file = database.path().filename().string();
  const auto attempt = [&](const auto& step) {
    try {
      step();
    } catch (const Error& error) {  // an adapter's: what SQLite cannot read is what is looked for
      problems.push_back(error.message());
    }
  };
  attempt([&] {
    Connection connection(database.path(), Connection::Mode::kReadOnly);
    attempt([&] {
      const int version = refuse_foreign(connection, database.schema());
      if (version != database.schema().version)
        problems.push_back(file + ": schema version " + std::to_string(version) + " instead of " +
                           std::to_string(database.schema().version));
    });
    attempt([&] {
      Query query = connection.query_once("PRAGMA integrity_check(" + std::to_string(kMostProblems) + ")");
      while (query.next())
        if (query.text(0) != "ok") problems.push_back(file + ": " + query.string(0));
    });
    attempt([&] {
      Query query = connection.query_once("PRAGMA foreign_key_check");
      for (int count = 0; count < kMostProblems && query.next(); ++count)
        problems.push_back(file + ": a row of " + query.string(0) + " names a missing row of " + query.string(2));
    });
  });
  return problems;
}

}  // namespace runner::store
