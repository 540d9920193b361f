// `runner sql`: a SELECT over the views of docs/sql.md, as a table or as JSON.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runner/cli/commands.hpp"
#include "runner/cli/document.hpp"
#include "runner/cli/table.hpp"
#include "runner/cli/terminal.hpp"
#include "runner/core/error.hpp"

namespace runner::cli {
namespace {

std::string standard_input() {
  std::string text;
  std::array<char, 4096> piece;
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "read the query from standard input");
    if (got == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(got));
    if (text.size() > (std::size_t{1} << 20)) throw Error(ErrorCode::kInvalid, "sql: the query is longer than 1 MiB");
  }
}

std::string rows_table(const Json& answer) {
  std::vector<Column> columns;
  for (const Json& name : member(answer, "columns"))
    columns.push_back({.title = printable(scalar_text(name)), .least = 8});
  Table table(columns);
  for (const Json& item : member(answer, "items")) {
    std::vector<Cell> row;
    for (const Json& name : member(answer, "columns")) {
      const Json& value = member(item, name.get_ref<const std::string&>().c_str());
      if (value.is_null())
        row.push_back({"NULL", Colour::kDim});
      else
        row.push_back({scalar_text(value)});
    }
    table.add(std::move(row));
  }
  return table.empty() ? "" : table.text(terminal_width());
}

}  // namespace

int run(Session& session, const SqlOptions& options) {
  const Json body = {{"query", options.query == "-" ? standard_input() : options.query}, {"limit", options.limit}};
  const std::string text = session.post("/v1/sql", dump_document(body));
  const Json answer = parse_document(text);
  if (session.json()) {
    print(json_text(text));
  } else if (const std::string table = rows_table(answer); table.empty()) {
    print_error("runner: no rows\n");
  } else {
    print(table);
  }
  const Json& truncated = member(answer, "truncated");
  if (truncated.is_boolean() && truncated.get<bool>())
    print_error("runner: warning: only the first " + std::to_string(options.limit) +
                " rows; --limit N asks for more\n");
  return 0;
}

}  // namespace runner::cli
