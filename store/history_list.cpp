// Filtered lists, newest first. Each condition can drive the query through its own index or be checked row by row;
// SQLite has no statistics of a database that is minutes old, so the rarest condition is found by counting, a bounded
// number of rows each.
#include <algorithm>
#include <string>
#include <vector>

#include "store/history.hpp"
#include "store/history_conditions.hpp"
#include "store/history_rows.hpp"

namespace runner::store {
namespace {

// How far matches are counted, first and when that tells nothing: a thousand take about 0.05 ms.
constexpr std::int64_t kCountSteps[] = {1'000, 20'000};

constexpr std::size_t kMostPageBytes = 16 << 20;  // a page with a limit ends behind the run that goes beyond

std::int64_t count_of(Connection& connection, const Condition& condition, std::int64_t at_most) {
  Query query = query_of(connection, {.sql = "SELECT count(*) FROM (SELECT 1 FROM " + condition.from + " WHERE " +
                                             condition.where + " LIMIT " + std::to_string(at_most) + ")",
                                      .values = condition.values});
  return query.next() ? query.integer(0) : 0;
}

void rarest_first(Connection& connection, std::vector<Condition>& conditions) {
  for (const std::int64_t at_most : kCountSteps) {
    // What the user asked for; that a run is top-level is true of nearly all of them.
    const auto asked =
        std::count_if(conditions.begin(), conditions.end(), [](const auto& c) { return !c.values.empty(); });
    if (conditions.size() < 2 || (at_most > kCountSteps[0] && asked < 2)) return;
    std::size_t rarest = 0;
    std::int64_t fewest = at_most;
    for (std::size_t i = 0; i < conditions.size(); ++i)
      if (const std::int64_t count = count_of(connection, conditions[i], at_most); count < fewest) {
        fewest = count;
        rarest = i;
      }
    std::swap(conditions[0], conditions[rarest]);
    if (fewest < at_most) return;
  }
}

// Of what users and scripts write, about.
std::size_t page_bytes_of(const RunRecord& run) {
  std::size_t bytes = run.name.size() + run.status_reason.size();
  for (const auto& [key, value] : run.tags) bytes += key.size() + value.value_or("").size();
  for (const auto& [key, value] : run.properties) bytes += key.size() + value.size();
  for (const auto* words : {&run.definition.arguments, &run.definition.command})
    for (const std::string& word : *words) bytes += word.size();
  return bytes;
}

}  // namespace

RunPage History::page(const RunFilter& filter, const Unreadable& unreadable) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  RunPage page;
  auto conditions = conditions_of(*reader, filter);
  if (!conditions) return page;
  rarest_first(*reader, *conditions);
  // One more than is wanted says whether there is a next page.
  constexpr std::int64_t kNoLimit = -1;
  const std::int64_t limit = std::max(filter.limit.value_or(kNoLimit), kNoLimit);
  Query query = query_of(*reader, statement_of(*conditions, filter.before, limit == kNoLimit ? limit : limit + 1));
  std::int64_t seen = 0;
  std::size_t bytes = 0;
  for (std::int64_t last = 0; query.next(); ++seen) {
    if (seen == limit || (limit > 0 && bytes > kMostPageBytes)) {
      if (limit > 0) page.next = last;
      break;
    }
    const std::int64_t seq = last = query.integer(0);
    try {
      page.runs.push_back(load_run(*reader, seq));
      bytes += page_bytes_of(page.runs.back());
    } catch (const Error& error) {
      if (!unreadable || impl_->database.damage()) throw;
      Query id = reader->query("SELECT id FROM run WHERE seq = ?", seq);
      unreadable(id.next() ? id.string(0) : "number " + std::to_string(seq), error.message());
    }
  }
  return page;
}

std::vector<RunRecord> History::list(const RunFilter& filter, const Unreadable& unreadable) const {
  return page(filter, unreadable).runs;
}

std::vector<RunRecord> History::unfinished(const Unreadable& unreadable) const {
  const auto reader = impl_->database.read();
  const ReadTransaction transaction(*reader);
  std::vector<RunRecord> runs;
  Query query = reader->query(
      "SELECT seq, id FROM run WHERE status IN ('NotStarted', 'Preparing', 'Queued', 'Starting', 'Running', 'Paused',"
      " 'CancelRequested', 'Finalizing') ORDER BY seq");
  while (query.next()) {
    try {
      runs.push_back(load_run(*reader, query.integer(0)));
    } catch (const Error& error) {
      if (!unreadable || impl_->database.damage()) throw;
      unreadable(query.string(1), error.message());
    }
  }
  return runs;
}

}  // namespace runner::store
