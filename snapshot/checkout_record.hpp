// What lies beside a checkout's files and says what they are. Text, published by rename:
//
//   record = "runner checkout 1" LF "weight " n LF "disk " n LF "boot " id LF "synced " ("0" | "1") LF ("below " hash
//   LF)* "end" LF
//
// Its modification time is when the checkout was last used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runner/core/content.hpp"

namespace runner::snapshot {

struct CheckoutRecord {
  // What making the whole tree anew would cost (kEntryWeight an entry plus a byte a byte). Of a thin layer an upper
  // bound: what the layer removes is not looked into.
  std::int64_t weight = 0;
  std::int64_t disk = 0;      // bytes that this layer takes
  std::string boot;           // the boot (os::boot_id) in which it was made
  bool synced = false;        // known to be on the disk: good after a reboot
  std::vector<Hash> below{};  // the layers under it, topmost first
};

// Making a small file takes as long as copying 16 KiB more.
inline constexpr std::int64_t kEntryWeight = 16 << 10;

std::string encode_record(const CheckoutRecord& record);
// Nothing for what the grammar does not produce: cut off, or of another version.
std::optional<CheckoutRecord> decode_record(std::string_view text);

}  // namespace runner::snapshot
