// One record of a metric journal, as its text says it. Any thread. Text of hostile scripts: what it takes is bounded by
// the record's length, and nothing of it is built that is not kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "runner/core/metrics.hpp"

namespace runner::collect {

// io/artifacts/NAME is complete.
struct JournalArtifact {
  std::string run;   // as MetricRecord::run
  std::string name;  // a relative path that leads nowhere else
  std::int64_t bytes = 0;
  bool operator==(const JournalArtifact&) const = default;
};

using JournalRecord = std::variant<MetricRecord, JournalArtifact>;

// Below `io/artifacts/`: neither above it nor a second spelling of another name.
bool is_artifact_name(std::string_view name);

// Nothing if it is damaged or foreign. Members it does not know are ignored.
std::optional<JournalRecord> parse_record(std::string_view text);
// The same without the short way for what is frequent (plain_point.hpp): for the fuzzer and the tests.
std::optional<JournalRecord> parse_any_record(std::string_view text);

}  // namespace runner::collect
