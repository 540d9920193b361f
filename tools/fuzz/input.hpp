// What every fuzz target here is made of. A target chooses among a few close parsers by the input's first byte, gives
// the chosen one the rest, and takes two ends as right: it was read, or it was refused with an Error. Whatever else
// happens (another exception, a sanitizer's report, a property that does not hold, ten seconds) is a finding.
#pragma once

#include <stdlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

// libFuzzer's entry.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace runner::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  // One of `count` ways; '0' is the first, so that seeds can be written with an editor.
  unsigned choose(unsigned count) {
    if (rest_.empty()) return 0;
    const auto first = static_cast<unsigned char>(rest_.front() - '0');
    rest_.remove_prefix(1);
    return first % count;
  }
  // Up to the next `end`, which goes, too.
  std::string_view take_until(char end) {
    const auto at = rest_.find(end);
    const std::string_view taken = rest_.substr(0, at);
    rest_.remove_prefix(at == std::string_view::npos ? rest_.size() : at + 1);
    return taken;
  }
  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// False: it was refused, as foreign input may be.
template <class Read>
bool accepts(Read&& read) {
  try {
    read();
    return true;
  } catch (const Error&) {
    return false;
  }
}

// What must hold whatever the input.
inline void require(bool holds, const char* property, std::string_view first = {}, std::string_view second = {}) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s\n  first:  %.*s\n  second: %.*s\n", property, static_cast<int>(first.size()),
               first.data(), static_cast<int>(second.size()), second.data());
  std::abort();
}

// `to_text(from_text(text))` says the same when it is read again.
template <class Read, class Print>
void require_stable(std::string_view text, const Read& read, const Print& print) {
  std::string once;
  if (!accepts([&] { once = print(read(text)); })) return;
  std::string twice;
  require(accepts([&] { twice = print(read(std::string_view(once))); }), "what was printed is read again", text, once);
  require(once == twice, "printed, read and printed again it is the same", once, twice);
}

// A directory for parsers that read files; gone when the process ends in good order.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-fuzz-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    std::filesystem::path file = path_ / name;
    std::ofstream stream(file, std::ios::binary | std::ios::trunc);
    stream.write(content.data(), static_cast<std::streamsize>(content.size()));
    return file;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace runner::fuzz
