// The metric journal: what `runner.log` in a script appends and the daemon reads.
// RFC 7464 JSON text sequence: each record is RS (0x1E), one JSON object, LF; one write(2) with O_APPEND each.
//   {"metric": "loss", "value": 0.5, "step": 3, "time": 1700000000000000}      a point
//   {"list": NAME, "values": [V, …]}                  so many points; the name reads back as a list
//   {"row": NAME, "values": {COLUMN: V, …}}           a row of a table
//   {"table": NAME, "values": {COLUMN: [V, …], …}}    rows at once; shorter columns end earlier
//   {"artifact": NAME, "bytes": N}                    io/artifacts/NAME is complete
// V: number, string, {"float": "nan"|"inf"|"-inf"}, or {"artifact": NAME, "type": "image"|"confusion_matrix"|
// "accuracy_table"|"residuals"|"predictions"}; in rows and tables also null. All have "time" (microseconds UTC), and
// may have "step" (an integer) and "run" (the id of a descendant of the journal's run). Names have 1 to 4096 bytes,
// rows up to 1000 columns, each once. Other members are ignored. A torn or foreign record costs only itself. Of one
// attempt's journal the first GiB is read; holes cost nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runner/collect/metric_record.hpp"
#include "runner/core/metrics.hpp"

namespace runner::collect {

constexpr std::int64_t kJournalLimit = std::int64_t{1} << 30;  // bytes of apparent size

// What was not taken, to be summed over the parts of a journal: a script can give cause for any number of notices.
struct JournalLosses {
  std::int64_t damaged = 0;       // records, or pieces of what is none; a hole counts as one
  std::int64_t too_long = 0;      // bytes of records of more than 1 MiB each
  std::int64_t beyond_limit = 0;  // bytes behind kJournalLimit; told by the `complete` reading that ends there

  JournalLosses& operator+=(const JournalLosses& more);
  bool operator==(const JournalLosses&) const = default;
};
// One line for people; empty if nothing was lost.
std::string to_text(const JournalLosses& losses);

struct JournalPart {
  std::vector<MetricRecord> records;       // in the order of the journal
  std::vector<JournalArtifact> artifacts;  // the same; a value that is a file comes after its artifact
  std::int64_t next_offset = 0;            // behind the last complete record
  JournalLosses losses;
  std::vector<std::string> notices;  // a journal that shrank or cannot be read
};
// Reads from `offset` at most about 1 MiB of records. At the end of a run (`complete`) an unterminated last record is
// final and counts as damaged. Hostile file: O_NOFOLLOW|O_NONBLOCK, regular only (else a notice); a record over 1 MiB
// is skipped, and so is a hole.
JournalPart read_journal(const std::filesystem::path& journal, std::int64_t offset, bool complete);

// The grammar alone, for the fuzzer and the tests.
JournalPart parse_journal(std::string_view bytes, std::int64_t offset, bool complete);

}  // namespace runner::collect
