// What the databases hold: chunks of contents, and the JSON of rows. A damaged disk may hand anything back.
#include <string>
#include <vector>

#include "store/chunk_codec.hpp"
#include "store/chunker.hpp"
#include "store/record_json.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

void decode(fuzz::Input input) {
  const std::size_t size = input.take_until('\n').size() * 37;
  std::vector<std::byte> out(size);
  store::decode(store::Codec::kZstd, std::as_bytes(std::span(input.rest())), out);
  const bool plain = store::decode(store::Codec::kPlain, std::as_bytes(std::span(input.rest())), out);
  fuzz::require(plain == (input.rest().size() == size), "plain bytes are as long as they are");
}

void round_trip(std::string_view bytes) {
  std::string content;
  while (content.size() < 4096 && !bytes.empty()) content += bytes;  // so that compressing pays
  static store::Compressor compressor;
  const auto frame = compressor.compress(std::as_bytes(std::span(content)));
  if (!frame) return;
  std::vector<std::byte> out(content.size());
  fuzz::require(store::decode(store::Codec::kZstd, *frame, out), "what was compressed is read", content);
  fuzz::require(std::equal(out.begin(), out.end(), std::as_bytes(std::span(content)).begin()), "and is the same");
  std::vector<std::byte> longer(content.size() + 1);
  fuzz::require(!store::decode(store::Codec::kZstd, *frame, longer), "a wrong size is damage");
}

void cut(std::string_view bytes) {
  if (bytes.empty()) return;
  std::string content;
  constexpr std::size_t kBytes = store::kMaxChunk + store::kMinChunk / 2;
  while (content.size() < kBytes) content += bytes;
  content.resize(kBytes);
  for (std::span<const std::byte> rest = std::as_bytes(std::span(content)); !rest.empty();) {
    const std::size_t length = store::first_chunk(rest);
    fuzz::require(length > 0 && length <= rest.size() && length <= store::kMaxChunk, "a chunk is within its bounds");
    fuzz::require(length >= store::kMinChunk || length == rest.size(), "only the last chunk is short");
    rest = rest.subspan(length);
  }
}

template <class Read>
void read_record(std::string_view text, const Read& read) {
  fuzz::require_stable(text, read, [](const auto& record) { return store::to_json(record); });
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(10)) {
    case 0:
      decode(input);
      break;
    case 1:
      round_trip(input.rest());
      break;
    case 2:
      read_record(input.rest(), store::definition_from_json);
      break;
    case 3:
      read_record(input.rest(), store::git_from_json);
      break;
    case 4:
      read_record(input.rest(), store::environment_from_json);
      break;
    case 5:
      read_record(input.rest(), store::outcome_from_json);
      break;
    case 6:
      read_record(input.rest(), store::error_from_json);
      break;
    case 7:
      read_record(input.rest(), store::variables_from_json);
      break;
    case 8:
      read_record(input.rest(), store::names_from_json);
      break;
    default:
      cut(input.rest());
  }
  return 0;
}
