#include "runner/collect/metric_journal.hpp"

#include <stdlib.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

#include "runner/os/file.hpp"

namespace runner::collect {
namespace {

std::string record(const std::string& json) { return "\x1e" + json + "\n"; }
struct Whole {
  std::vector<MetricRecord> points;
  JournalLosses losses;
  std::int64_t offset = 0;
  int parts = 0;
};

// As at the end of a run.
Whole read_whole(const std::filesystem::path& journal) {
  Whole whole;
  for (; whole.parts < 100'000; ++whole.parts) {
    JournalPart part = read_journal(journal, whole.offset, true);
    whole.losses += part.losses;
    for (MetricRecord& point : part.records) whole.points.push_back(std::move(point));
    if (part.next_offset <= whole.offset) break;
    whole.offset = part.next_offset;
  }
  return whole;
}

struct Directory {
  std::filesystem::path path;
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "runner-journal-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path = name;
  }
  ~Directory() { os::remove_tree(path); }
};

MetricValue value_of(const MetricRecord& record) {
  REQUIRE(record.values.size() == 1);
  return record.values[0];
}

const std::string kLoss = record(R"({"metric":"loss","value":0.5,"step":3,"time":1700000000000000})");

}  // namespace

TEST_CASE("every kind of value round-trips") {
  const std::string bytes = kLoss + record(R"({"metric":"n","value":9007199254740993,"time":1})") +
                            record(R"({"metric":"s","value":"a\nb","time":2})") +
                            record(R"({"metric":"x","value":{"float":"nan"},"time":3})") +
                            record(R"({"metric":"y","value":{"float":"-inf"},"step":null,"time":4})") +
                            record(R"({"metric":"z","value":18446744073709551615,"time":5})");
  const JournalPart part = parse_journal(bytes, 100, false);
  REQUIRE(part.records.size() == 6);
  CHECK(part.next_offset == 100 + static_cast<std::int64_t>(bytes.size()));
  CHECK(part.losses == JournalLosses{});
  CHECK(to_text(part.losses).empty());
  CHECK(part.records[0].name == "loss");
  CHECK(part.records[0].shape == MetricShape::kValue);
  CHECK(part.records[0].run.empty());
  CHECK(value_of(part.records[0]) == MetricValue(0.5));
  CHECK(part.records[0].step == 3);
  CHECK(part.records[0].time == UtcTime{std::chrono::microseconds{1700000000000000}});
  CHECK(value_of(part.records[1]) == MetricValue(std::int64_t{9007199254740993}));
  CHECK_FALSE(part.records[1].step);
  CHECK(value_of(part.records[2]) == MetricValue("a\nb"));
  CHECK(std::isnan(std::get<double>(value_of(part.records[3]))));
  CHECK(value_of(part.records[4]) == MetricValue(-INFINITY));
  CHECK(value_of(part.records[5]) == MetricValue(18446744073709551615.0));
}

TEST_CASE("a torn record costs only itself") {
  const std::string torn = "\x1e{\"metric\":\"lo";
  const JournalPart part = parse_journal(kLoss + torn + kLoss, 0, false);
  CHECK(part.records.size() == 2);
  CHECK(to_text(part.losses) == "metric journal: 1 record was damaged and left out");
}

TEST_CASE("a record that is still being written waits, and is damaged when the run is over") {
  const std::string half = "\x1e{\"metric\":\"loss\",\"value\":1";
  const JournalPart live = parse_journal(kLoss + half, 10, false);
  CHECK(live.records.size() == 1);
  CHECK(live.next_offset == 10 + static_cast<std::int64_t>(kLoss.size()));
  CHECK(live.losses == JournalLosses{});
  const JournalPart final = parse_journal(half, 0, true);
  CHECK(final.records.empty());
  CHECK(final.next_offset == static_cast<std::int64_t>(half.size()));
  CHECK(final.losses.damaged == 1);
}

TEST_CASE("what is not a metric record is left out and counted") {
  const std::string foreign = GENERATE(
      record("[1]"), record("{}"), record(R"({"metric":"","value":1,"time":1})"),
      record(R"({"metric":"a","value":true,"time":1})"), record(R"({"metric":"a","value":1})"),
      record(R"({"metric":"a","value":1,"time":1,"step":1.5})"),
      record(R"({"metric":"a","value":{"float":"huge"},"time":1})"),
      record("{\"metric\":\"\xff\",\"value\":1,\"time\":1}"),
      record(R"({"metric":"a","value":1,"time":18446744073709551615})"), std::string("text without separator\n"));
  const JournalPart part = parse_journal(foreign + kLoss, 0, false);
  CHECK(part.records.size() == 1);
  CHECK(part.losses.damaged == 1);
}

TEST_CASE("nesting without end is a damaged record") {
  CHECK(parse_journal(record(std::string(200'000, '[')), 0, false).losses.damaged == 1);
  CHECK(parse_journal(record(std::string(100'000, '[') + std::string(100'000, ']')), 0, false).losses.damaged == 1);
}

TEST_CASE("a journal file is read from where the last reading ended") {
  std::string name = (std::filesystem::temp_directory_path() / "runner-journal-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  const std::filesystem::path directory = name, journal = directory / "metrics.jsonseq";

  CHECK(read_journal(journal, 0, false).records.empty());
  CHECK(read_journal(journal, 0, false).notices.empty());
  std::ofstream(journal) << kLoss;
  const JournalPart first = read_journal(journal, 0, false);
  CHECK(first.records.size() == 1);
  std::ofstream(journal, std::ios::app) << kLoss << kLoss;
  const JournalPart second = read_journal(journal, first.next_offset, false);
  CHECK(second.records.size() == 2);
  CHECK(read_journal(journal, second.next_offset, true).records.empty());

  std::ofstream(journal) << kLoss;  // truncated by the script
  const JournalPart shrunk = read_journal(journal, second.next_offset, false);
  CHECK(shrunk.next_offset == static_cast<std::int64_t>(kLoss.size()));
  REQUIRE(shrunk.notices.size() == 1);
  CHECK(shrunk.notices[0].find("shrank") != std::string::npos);

  std::ofstream(journal) << kLoss << "\x1e\"" << std::string(3 << 20, 'x') << "\"\n" << kLoss;
  const Whole whole = read_whole(journal);
  CHECK(whole.points.size() == 2);
  CHECK(whole.losses.too_long == 3 << 20);
  CHECK(whole.offset == static_cast<std::int64_t>(std::filesystem::file_size(journal)));

  std::filesystem::remove(journal);
  std::filesystem::create_symlink("/etc/passwd", journal);
  CHECK(read_journal(journal, 0, false).notices.size() == 1);
  std::filesystem::remove(journal);
  REQUIRE(::mkfifo(journal.c_str(), 0600) == 0);
  CHECK(read_journal(journal, 0, false).notices.size() == 1);
  os::remove_tree(directory);
}

TEST_CASE("a journal of terabytes of nothing is read in a few steps and up to its limit") {
  const Directory directory;
  const std::filesystem::path journal = directory.path / "metrics.jsonseq";
  std::ofstream(journal) << kLoss << kLoss;  // the hole becomes part of the second
  std::filesystem::resize_file(journal, 3ULL << 40);
  // While it lives, what comes behind a hole may still come.
  CHECK(read_journal(journal, 1 << 20, false).next_offset == 1 << 20);
  const Whole whole = read_whole(journal);
  CHECK(whole.parts < 10);
  CHECK(whole.points.size() == 1);
  CHECK(whole.offset == kJournalLimit);
  CHECK(whole.losses.damaged > 0);
  CHECK(whole.losses.beyond_limit == (std::int64_t{3} << 40) - kJournalLimit);
  const std::string text = to_text(whole.losses);
  CHECK(text.find("at most 1.0 GiB are read") != std::string::npos);
  // Told once, however often the end is read.
  JournalLosses twice = whole.losses;
  twice += read_journal(journal, whole.offset, true).losses;
  CHECK(twice == whole.losses);
}

TEST_CASE("what follows a hole of a journal is read") {
  const Directory directory;
  const std::filesystem::path journal = directory.path / "metrics.jsonseq";
  std::ofstream(journal) << kLoss << kLoss;
  std::filesystem::resize_file(journal, 600 << 20);
  std::ofstream(journal, std::ios::app) << kLoss << kLoss;
  const Whole whole = read_whole(journal);
  CHECK(whole.points.size() == 3);
  CHECK(whole.parts < 10);
  CHECK(whole.losses.beyond_limit == 0);
}

}  // namespace runner::collect
