#include "runner/cli/event_file.hpp"

#include <array>
#include <bit>
#include <chrono>

namespace runner::cli {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  constexpr std::uint32_t kCastagnoli = 0x82f63b78;  // reflected
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1U) != 0 ? (value >> 1U) ^ kCastagnoli : value >> 1U;
    table[i] = value;
  }
  return table;
}

template <class Word>
void put_fixed(std::string& into, Word word) {  // little-endian
  for (std::size_t i = 0; i < sizeof word; ++i) into += static_cast<char>((word >> (8 * i)) & 0xffU);
}

void put_varint(std::string& into, std::uint64_t value) {
  for (; value >= 0x80U; value >>= 7U) into += static_cast<char>((value & 0x7fU) | 0x80U);
  into += static_cast<char>(value);
}

// Of the wire format: 0 a varint, 1 eight bytes, 2 a length and bytes, 5 four bytes.
void put_key(std::string& into, unsigned field, unsigned type) { put_varint(into, field << 3U | type); }

void put_bytes(std::string& into, unsigned field, std::string_view bytes) {
  put_key(into, field, 2);
  put_varint(into, bytes.size());
  into += bytes;
}

std::uint32_t masked(std::uint32_t crc) { return ((crc >> 15U) | (crc << 17U)) + 0xa282ead8U; }

// Event: 1 wall_time (double, seconds), 2 step (int64), 3 file_version, 5 summary.
std::string event_at(UtcTime time) {
  std::string event;
  put_key(event, 1, 1);
  const double seconds = std::chrono::duration<double>(time.time_since_epoch()).count();
  put_fixed(event, std::bit_cast<std::uint64_t>(seconds));
  return event;
}

std::string record_of(std::string_view data) {
  std::string record;
  put_fixed(record, std::uint64_t{data.size()});
  put_fixed(record, masked(crc32c(record)));
  record += data;
  put_fixed(record, masked(crc32c(data)));
  return record;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  static constexpr auto kTable = crc_table();
  std::uint32_t crc = 0xffffffff;
  for (const char c : bytes) crc = (crc >> 8U) ^ kTable[(crc ^ static_cast<unsigned char>(c)) & 0xffU];
  return ~crc;
}

std::string version_record(UtcTime time) {
  std::string event = event_at(time);
  put_bytes(event, 3, "brain.Event:2");
  return record_of(event);
}

std::string scalar_record(const Scalar& scalar) {
  std::string value;  // Summary.Value: 1 tag, 2 simple_value
  put_bytes(value, 1, scalar.tag);
  put_key(value, 2, 5);
  put_fixed(value, std::bit_cast<std::uint32_t>(static_cast<float>(scalar.value)));
  std::string summary;
  put_bytes(summary, 1, value);
  std::string event = event_at(scalar.time);
  put_key(event, 2, 0);
  put_varint(event, static_cast<std::uint64_t>(scalar.step));
  put_bytes(event, 5, summary);
  return record_of(event);
}

}  // namespace runner::cli
