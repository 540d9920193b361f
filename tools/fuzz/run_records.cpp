// What lies in a run's directory: the script's metric journal, and the records that daemon and shim leave each other.
#include <algorithm>
#include <string>
#include <variant>

#include "runner/collect/metric_journal.hpp"
#include "runner/collect/plain_point.hpp"
#include "runner/shim/last_look.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"
#include "runner/shim/usage.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

bool same(const MetricRecord& a, const MetricRecord& b) {
  const auto equal = [](const MetricValue& x, const MetricValue& y) {
    const auto *p = std::get_if<double>(&x), *q = std::get_if<double>(&y);
    return x == y || (p != nullptr && q != nullptr && *p != *p && *q != *q);
  };
  return a.run == b.run && a.name == b.name && a.shape == b.shape && a.step == b.step && a.time == b.time &&
         std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end(), equal) &&
         a.columns == b.columns && a.rows == b.rows;
}

// What the store relies on, whatever the script wrote.
void check(const MetricRecord& record) {
  fuzz::require(!record.name.empty() && record.name.size() <= kMaxMetricName, "a name is within its bounds");
  fuzz::require(record.shape != MetricShape::kValue || record.values.size() == 1, "a value is one");
  fuzz::require(record.shape != MetricShape::kRow || record.rows.size() == 1, "a row is one");
  fuzz::require(has_rows(record.shape) ? record.values.empty() && !record.columns.empty() : record.rows.empty(),
                "points or rows");
  fuzz::require(record.columns.size() <= kMaxMetricColumns, "columns are within their bounds");
  for (const std::string& row : record.rows) {
    const auto again = collect::parse_record(R"({"row":"r","time":1,"values":)" + row + "}");
    fuzz::require(again && std::get<MetricRecord>(*again).rows.at(0) == row, "a row is one, and says the same", row);
  }
}

// Read as it grows or at once: the same records.
void read_journal(std::string_view bytes) {
  const auto whole = collect::parse_journal(bytes, 0, false);
  const auto size = static_cast<std::int64_t>(bytes.size());
  fuzz::require(whole.next_offset >= 0 && whole.next_offset <= size, "the journal goes no further than its end");
  // A writer writes whole records: the file never ends within one whose beginning looks whole.
  const std::string_view begun = bytes.substr(0, std::min(bytes.find('\x1e', bytes.size() / 2), bytes.size()));
  auto parts = collect::parse_journal(begun, 0, false);
  fuzz::require(parts.next_offset <= static_cast<std::int64_t>(begun.size()), "nor does a part of it");
  const auto rest =
      collect::parse_journal(bytes.substr(static_cast<std::size_t>(parts.next_offset)), parts.next_offset, false);
  parts.records.insert(parts.records.end(), rest.records.begin(), rest.records.end());
  parts.artifacts.insert(parts.artifacts.end(), rest.artifacts.begin(), rest.artifacts.end());
  fuzz::require(rest.next_offset == whole.next_offset, "both ways end at the same place", bytes);
  fuzz::require(parts.artifacts == whole.artifacts, "both ways have the same artifacts", bytes);
  fuzz::require(parts.records.size() == whole.records.size(), "both ways have as many records", bytes);
  for (std::size_t i = 0; i < parts.records.size(); ++i) {
    fuzz::require(same(parts.records[i], whole.records[i]), "both ways have the same records", bytes);
    check(whole.records[i]);
  }
  collect::parse_journal(bytes, 0, true);
}

// The short way says what the long one says.
void read_point(std::string_view text) {
  const auto point = collect::parse_plain_point(text);
  if (!point) return;
  const auto any = collect::parse_any_record(text);
  fuzz::require(any && same(std::get<MetricRecord>(*any), *point), "a plain point is that of the whole grammar", text);
}

void read_usage(std::string_view text) {
  const auto samples = shim::parse_usage(text);
  shim::usage_of(samples);
  for (const shim::UsageSample& sample : samples) {
    const std::string line = shim::to_line(sample);
    fuzz::require(shim::parse_usage(line).size() == 1, "a sample is read again", text, line);
    if (&sample != &samples.front()) shim::merged(samples.front(), sample);
  }
}

// Written again, each says what it said.
template <class Record>
void read_record(const os::RunDirectory& run, const std::filesystem::path& file,
                 std::optional<Record> (*read)(const os::RunDirectory&),
                 void (*write)(const os::RunDirectory&, const Record&)) {
  fuzz::accepts([&] {
    const auto record = read(run);
    if (!record) return;
    write(run, *record);
    const std::string once = os::read_file(file);
    const auto again = read(run);
    fuzz::require(again.has_value(), "what was written is read", once);
    write(run, *again);
    fuzz::require(os::read_file(file) == once, "and says the same", once, os::read_file(file));
  });
}

// Not durable, as write_ended is: an fsync each would be all that the target does.
void read_end(const os::RunDirectory& run) {
  fuzz::accepts([&] { shim::read_ended(run); });
}

void read_spec(const os::RunDirectory& run) {
  fuzz::accepts([&] {
    const shim::Spec spec = shim::read_spec(run);
    shim::write_spec(run, spec);
    const std::string once = os::read_file(run.spec());
    shim::write_spec(run, shim::read_spec(run));
    fuzz::require(os::read_file(run.spec()) == once, "an order says the same", once);
  });
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchDirectory scratch;
  static const os::RunDirectory run(scratch.path());
  fuzz::Input input(data, size);
  switch (input.choose(10)) {
    case 0:
      read_journal(input.rest());
      break;
    case 1:
      read_usage(input.rest());
      break;
    case 2:
      scratch.write("claim.json", input.rest());
      fuzz::accepts([&] { shim::read_claim(run); });
      break;
    case 3:
      scratch.write("start.json", input.rest());
      fuzz::accepts([&] { shim::check_started(run); });
      read_record<shim::Started>(run, run.started(), shim::read_started, shim::write_started);
      break;
    case 4:
      scratch.write("exit.json", input.rest());
      read_end(run);
      break;
    case 5:
      scratch.write("pause.json", input.rest());
      read_record<shim::PauseRequest>(run, run.pause(), shim::read_pause, shim::write_pause);
      break;
    case 6:
      scratch.write("cancel.json", input.rest());
      read_record<shim::CancelRequest>(run, run.cancel(), shim::read_cancel, shim::write_cancel);
      break;
    case 7:
      scratch.write("last_look.json", input.rest());
      read_record<shim::LastLook>(run, run.last_look(), shim::read_last_look, shim::write_last_look);
      break;
    case 8:
      scratch.write("spec.json", input.rest());
      read_spec(run);
      break;
    default:
      read_point(input.rest());
  }
  return 0;
}
