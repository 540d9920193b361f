// SQLite's own judgement of one of our files.
#pragma once

#include <string>
#include <vector>

#include "store/database.hpp"

namespace runner::store {

// One line a problem: integrity, foreign keys, schema version. Reads the whole file on a connection of its own; writers
// go on meanwhile, but the WAL is not reused before it is done. Throws nothing for a damaged file.
std::vector<std::string> check_database(const Database& database);

}  // namespace runner::store
