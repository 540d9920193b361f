// SQLite's own judgement of one of our files.
#pragma once

#include <string>
#include <vector>

#include "store/database.hpp"

namespace runner::store {

// One line a problem: integrity, foreign keys, schema version. Reads the whole file on a connection of its own; writers
// go on meanwhile, but the WAL is not reused before it is done. Throws nothing for a damaged file.
//
// SQLite allocates pages by what the file says of them: one that is wrong about that turns the next write into damage
// of something else. If more is wrong than indices (which REINDEX mends) and values that a constraint forbids, the
// first line says that nothing may be written, and is_damaged_in_structure() of what is returned is true.
std::vector<std::string> check_database(const Database& database);
bool is_damaged_in_structure(const std::vector<std::string>& findings);
bool would_reindex_help(const std::vector<std::string>& findings);  // indices are wrong, and no page is

}  // namespace runner::store
