// What lies in a run's directory: the script's metric journal, and the records that daemon and shim leave each other.
#include <algorithm>
#include <string>

#include "runner/collect/metric_journal.hpp"
#include "runner/shim/last_look.hpp"
#include "runner/shim/records.hpp"
#include "runner/shim/spec.hpp"
#include "runner/shim/usage.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

bool same(const MetricPoint& a, const MetricPoint& b) {
  const auto equal = [](double x, double y) { return x == y || (x != x && y != y); };
  return a.name == b.name && a.step == b.step && a.time == b.time && a.integer == b.integer && a.text == b.text &&
         a.real.has_value() == b.real.has_value() && (!a.real || equal(*a.real, *b.real));
}

// Read as it grows or at once: the same points.
void read_journal(std::string_view bytes) {
  const auto whole = collect::parse_journal(bytes, 0, false);
  const auto size = static_cast<std::int64_t>(bytes.size());
  fuzz::require(whole.next_offset >= 0 && whole.next_offset <= size, "the journal goes no further than its end");
  // A writer writes whole records: the file never ends within one whose beginning looks whole.
  const std::string_view begun = bytes.substr(0, std::min(bytes.find('\x1e', bytes.size() / 2), bytes.size()));
  auto points = collect::parse_journal(begun, 0, false);
  fuzz::require(points.next_offset <= static_cast<std::int64_t>(begun.size()), "nor does a part of it");
  const auto rest =
      collect::parse_journal(bytes.substr(static_cast<std::size_t>(points.next_offset)), points.next_offset, false);
  points.points.insert(points.points.end(), rest.points.begin(), rest.points.end());
  fuzz::require(rest.next_offset == whole.next_offset, "both ways end at the same place", bytes);
  fuzz::require(points.points.size() == whole.points.size(), "both ways have as many points", bytes);
  for (std::size_t i = 0; i < points.points.size(); ++i)
    fuzz::require(same(points.points[i], whole.points[i]), "both ways have the same points", bytes);
  collect::parse_journal(bytes, 0, true);
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
  switch (input.choose(9)) {
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
    default:
      scratch.write("spec.json", input.rest());
      read_spec(run);
  }
  return 0;
}
