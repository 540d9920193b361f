// Rows of runner.db as records and back; private to the history_*.cpp files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"
#include "store/database.hpp"
#include "store/history.hpp"

namespace runner::store {

class History::Impl {
 public:
  explicit Impl(const std::filesystem::path& path);
  mutable Database database;
};

Error no_such_run(std::string_view id);
// run.seq of an id; Error(kNotFound).
std::int64_t seq_of(Connection& connection, std::string_view id);
// The whole record; Error(kNotFound) with `seq` unknown.
RunRecord load_run(Connection& connection, std::int64_t seq);

}  // namespace runner::store
