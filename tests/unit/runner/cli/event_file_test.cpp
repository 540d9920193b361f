// TensorBoard's event files: known bytes. That a reader takes them: tests/functional/test_history_commands.py.
#include "runner/cli/event_file.hpp"

#include <catch2/catch.hpp>

#include "runner/cli/event_mirror.hpp"

using namespace runner::cli;

namespace {

std::string hex(const std::string& bytes) {
  std::string digits;
  for (const char c : bytes)
    for (const unsigned shift : {4U, 0U}) digits += "0123456789abcdef"[(static_cast<unsigned char>(c) >> shift) & 15U];
  return digits;
}

}  // namespace

TEST_CASE("the checksum is CRC-32C, by the vectors of RFC 3720") {
  CHECK(crc32c("123456789") == 0xe3069283);
  CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
  CHECK(crc32c("") == 0);
}

TEST_CASE("a record is its length, the event and both checksums") {
  const runner::UtcTime time{std::chrono::microseconds(1'500'000)};
  const std::string version = version_record(time);
  CHECK(hex(version.substr(0, 8)) == "1800000000000000");
  // wall_time 1.5, file_version
  CHECK(hex(version.substr(12, 24)) == "09000000000000f83f1a0d627261696e2e4576656e743a32");
  CHECK(version.size() == 8 + 4 + 24 + 4);
  const std::string scalar = scalar_record({.tag = "loss", .value = 0.5, .step = 300, .time = time});
  // wall_time, step 300, summary {value {tag "loss", simple_value 0.5}}
  CHECK(hex(scalar.substr(12, scalar.size() - 16)) ==
        "09000000000000f83f10ac022a0d0a0b0a046c6f737315"
        "0000003f");
}

TEST_CASE("event files are those that TensorBoard looks for, under logs/ and nowhere else") {
  CHECK(is_event_file("logs/events.out.tfevents.1700000000.host.1.0"));
  CHECK(is_event_file("logs/a/b/events.out.tfevents.1"));
  CHECK_FALSE(is_event_file("outputs/events.out.tfevents.1"));
  CHECK_FALSE(is_event_file("logs/x.tfevents.d/notes.txt"));
  CHECK_FALSE(is_event_file("logs/../events.out.tfevents.1"));
}
