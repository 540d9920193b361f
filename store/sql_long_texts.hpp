// Two functions of SQL that let a query pass by a stored text that is longer than its connection may hold: reading one
// would end it ("string or blob too big"), whoever wrote the text. As `PREFIXtext(PREFIXlift(), COLUMN)` they give the
// column's value, or NULL in place of a long text. The connection's limit is lifted for that one read.
#pragma once

#include <string>

struct sqlite3;

namespace runner::store {

inline constexpr int kLongestShownText = 200'000;  // bytes

// `limit`: SQLITE_LIMIT_LENGTH of the connection otherwise, above kLongestShownText. Error(kInternal) when SQLite has
// no room for them.
void add_long_text_functions(sqlite3* handle, const std::string& prefix, int limit);

}  // namespace runner::store
