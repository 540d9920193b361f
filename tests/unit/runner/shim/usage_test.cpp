#include "runner/shim/usage.hpp"

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/unit/runner/shim/scratch_run.hpp"

namespace runner::shim {
namespace {

UsageSample sample_at(int second, double cpu_seconds, std::int64_t memory, double cpus = 1) {
  return {.time = UtcTime{std::chrono::seconds{1'000'000 + second}},
          .seconds = 1,
          .cpu_seconds = cpu_seconds,
          .cpus = cpus,
          .memory_bytes = memory,
          .read_bytes = second,
          .written_bytes = {},
          .processes = 2};
}

}  // namespace

TEST_CASE("a sample is a line and comes back from it") {
  const auto parsed = parse_usage(to_line(sample_at(3, 2.125, 1LL << 41, 0.75)));
  REQUIRE(parsed.size() == 1);
  CHECK(parsed[0].time == UtcTime{std::chrono::seconds{1'000'003}});
  CHECK(parsed[0].cpu_seconds == 2.125);
  CHECK(parsed[0].cpus == 0.75);
  CHECK(parsed[0].memory_bytes == 1LL << 41);
  CHECK(parsed[0].read_bytes == 3);
  CHECK_FALSE(parsed[0].written_bytes);
  CHECK(parsed[0].processes == 2);
}

TEST_CASE("a torn or foreign line costs only itself") {
  const std::string good = to_line(sample_at(1, 1, 10));
  CHECK(parse_usage(good + good.substr(0, good.size() / 2)).size() == 1);
  CHECK(parse_usage(good.substr(0, 20) + "\n" + good).size() == 1);
  CHECK(parse_usage(good + "[]\n{}\nnull\n{\"time\": \"x\"}\n\xff\n" + good).size() == 2);
  CHECK(parse_usage("").empty());
}

TEST_CASE("peaks, means and sums are those of the samples, each by the time it stands for") {
  UsageSample second = sample_at(2, 4, 400, 1.5);
  second.seconds = 3;
  const ResourceUsage usage = usage_of(std::vector{sample_at(1, 1, 800, 1), second});
  CHECK(usage.peak_memory_bytes == 800);
  CHECK(usage.mean_memory_bytes == 500);
  CHECK(usage.cpu_seconds == 4.0);
  CHECK(usage.mean_cpus == 1.0);
  CHECK(usage.peak_cpus == 1.5);
  CHECK(usage.read_bytes == 2);
  CHECK_FALSE(usage.written_bytes);
  CHECK_FALSE(usage_of({}).cpu_seconds);
}

TEST_CASE("a week of samples stays small, and keeps its sums, its peaks and its order") {
  const ScratchRun scratch;
  constexpr int kWeek = 7 * 24 * 3600;
  constexpr std::size_t kMost = 100;
  UsageFile file(scratch.run.usage(), kMost);
  for (int i = 1; i <= kWeek; ++i) file.add(sample_at(i, i * 0.5, i == 1234 ? 9'000 : 10, 0.5));
  file.finish();
  const auto samples = read_usage_file(scratch.run.usage());
  CHECK(samples.size() > kMost / 2 - 1);
  CHECK(samples.size() <= kMost);
  CHECK(std::filesystem::file_size(scratch.run.usage()) < kMost * 200);
  double seconds = 0;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    seconds += samples[i].seconds;
    if (i > 0) CHECK(samples[i - 1].time < samples[i].time);
  }
  CHECK(seconds == kWeek);
  CHECK(samples.back().cpu_seconds == kWeek * 0.5);
  CHECK(usage_of(samples).mean_cpus == 0.5);
  CHECK(usage_of(samples).peak_memory_bytes == 9'000);
}

TEST_CASE("what cannot be written is left out, and the next line begins anew") {
  const ScratchRun scratch;
  UsageFile file(scratch.run.usage());
  file.add(sample_at(1, 1, 10));
  std::ofstream(scratch.run.usage(), std::ios::app) << "{\"time\": 17";  // as a full disk leaves it
  file.add(sample_at(2, 2, 10));                                         // glued to the torn one: lost with it
  file.add(sample_at(3, 3, 10));
  CHECK(read_usage_file(scratch.run.usage()).size() == 2);
  UsageFile nowhere("/no/such/directory/usage.jsonl", 2);
  for (int i = 0; i < 10; ++i) nowhere.add(sample_at(i, i, 10));  // throws nothing
}

}  // namespace runner::shim
