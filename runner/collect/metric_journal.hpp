// The metric journal: what `runner.log` in a script appends and the daemon reads.
// RFC 7464 JSON text sequence: each record is RS (0x1E), one JSON object, LF; one write(2) with O_APPEND each.
//   {"metric": "loss", "value": 0.5, "step": 3, "time": 1700000000000000}
// value: number, string, or {"float": "nan"|"inf"|"-inf"}; step: integer or absent; time: microseconds UTC.
// A torn or foreign record costs only itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/run.hpp"

namespace runner::collect {

struct JournalPart {
  std::vector<MetricPoint> points;
  std::int64_t next_offset = 0;      // behind the last complete record
  std::vector<std::string> notices;  // damaged records (counted, not one line each), a journal that shrank
};
// Reads from `offset` at most about 1 MiB of records. At the end of a run (`complete`) an unterminated last record is
// final and counts as damaged. Hostile file: O_NOFOLLOW|O_NONBLOCK, regular only (else a notice); a record over 1 MiB
// is skipped.
JournalPart read_journal(const std::filesystem::path& journal, std::int64_t offset, bool complete);

// The grammar alone, for the fuzzer and the tests.
JournalPart parse_journal(std::string_view bytes, std::int64_t offset, bool complete);

}  // namespace runner::collect
