// A content store in memory: what was put, by a "hash" that counts.
#pragma once

#include <map>
#include <string>

#include "runner/core/content.hpp"

namespace runner::collect::test {

class MemoryBatch : public ContentBatch {
 public:
  Hash put(std::span<const std::byte> content) override {
    return keep(std::string(reinterpret_cast<const char*>(content.data()), content.size()));
  }
  Stored put_stream(const ReadSome& read) override {
    std::string all;
    std::array<std::byte, 7> buffer;  // small and odd, so that pieces matter
    while (const std::size_t got = read(buffer)) all.append(reinterpret_cast<const char*>(buffer.data()), got);
    const auto size = static_cast<std::int64_t>(all.size());
    return {keep(std::move(all)), size};
  }
  void commit() override {}
  const std::string& content(const Hash& hash) const { return kept_.at(hash.hex()); }

 private:
  Hash keep(std::string content) {
    Hash hash;
    hash.bytes[0] = static_cast<std::uint8_t>(kept_.size() + 1);
    kept_[hash.hex()] = std::move(content);
    return hash;
  }
  std::map<std::string, std::string> kept_;
};

}  // namespace runner::collect::test
