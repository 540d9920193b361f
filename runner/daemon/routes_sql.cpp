// The history in SQL: one SELECT, a few at once.
#include <cmath>
#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"
#include "runner/daemon/request_values.hpp"
#include "runner/daemon/routes.hpp"
#include "runner/pipeline/sql.hpp"

namespace runner::daemon {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMostRows = 100'000;
constexpr std::int64_t kRows = 1000;  // where nothing else is asked for

// JSON has no infinities, and no bytes: the former are told as metrics' are, the latter in hexadecimal digits.
ordered_json json_of(const store::SqlCell& cell) {
  if (const auto* integer = std::get_if<std::int64_t>(&cell)) return *integer;
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  if (const auto* real = std::get_if<double>(&cell)) {
    if (std::isinf(*real)) return *real > 0 ? "Infinity" : "-Infinity";
    return *real;
  }
  if (const auto* blob = std::get_if<store::SqlBlob>(&cell)) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string digits;
    for (const char c : blob->bytes) {
      digits += kDigits[static_cast<unsigned char>(c) >> 4U];
      digits += kDigits[static_cast<unsigned char>(c) & 15U];
    }
    return digits;
  }
  return nullptr;
}

std::string rows_document(const store::SqlAnswer& answer) {
  ordered_json items = ordered_json::array();
  for (const auto& row : answer.rows) {
    ordered_json item = ordered_json::object();
    for (std::size_t i = 0; i < row.size(); ++i) item[answer.columns[i]] = json_of(row[i]);
    items.push_back(std::move(item));
  }
  const ordered_json document{{"columns", answer.columns},
                              {"items", std::move(items)},
                              {"nextToken", nullptr},
                              {"truncated", answer.truncated}};
  return document.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

// The rows that are asked for, at most.
std::int64_t rows_in(const nlohmann::json& body) {
  const auto limit = body.find("limit");
  if (limit == body.end()) return kRows;
  const auto wanted = limit->is_number_integer() ? limit->get<std::int64_t>() : 0;
  if (wanted < 1 || wanted > kMostRows)
    throw Error(ErrorCode::kInvalid, "'limit' must be a whole number from 1 to " + std::to_string(kMostRows));
  return wanted;
}

// Whether the client still waits and the daemon goes on; for SQLite, which passes no exception.
bool may_go_on(Exchange& exchange) noexcept {
  try {
    return exchange.wait(-1, std::chrono::milliseconds{0});
  } catch (...) {
    return false;
  }
}

}  // namespace

void Routes::sql(const http::Request& request, Exchange& exchange) {
  const auto body = body_of(request);
  const std::string query = text_in(body, "query");
  constexpr std::chrono::milliseconds kLook{100};
  auto looked = std::chrono::steady_clock::now();
  const store::SqlLimits limits{.rows = rows_in(body), .go_on = [&] {
                                  const auto now = std::chrono::steady_clock::now();
                                  if (now - looked < kLook) return true;
                                  looked = now;
                                  return may_go_on(exchange);
                                }};
  if (!asking_.try_acquire_for(limits.time))
    throw Error(ErrorCode::kUnavailable, "sql: others ask just now", "ask again");
  struct Place {
    std::counting_semaphore<kAskAtOnce>& places;
    ~Place() { places.release(); }
  } const place{asking_};
  exchange.respond({.status = 200, .body = rows_document(pipeline::answer_sql(pipeline_.data(), query, limits))});
}

}  // namespace runner::daemon
