// What the databases hold: chunks of contents, and the JSON of rows. A damaged disk may hand anything back.
#include <string>
#include <vector>

#include "store/chunk_codec.hpp"
#include "store/chunker.hpp"
#include "store/parameters.hpp"
#include "store/record_json.hpp"
#include "store/run_filter.hpp"
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

// Arguments, one a line.
void read_arguments(std::string_view text) {
  RunDefinition definition;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    definition.arguments.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  const auto parameters = store::parameters_of(definition);
  fuzz::require(parameters.size() <= store::kMaxParameters, "parameters are within their bounds");
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const store::Parameter& one = parameters[i];
    fuzz::require(
        !one.key.empty() && one.key.size() <= store::kMaxParameter && one.value.size() <= store::kMaxParameter,
        "a parameter is within its bounds", text);
    fuzz::require(i == 0 || parameters[i - 1].key < one.key, "each is there once", text);
    fuzz::require(!one.number || store::number_of(one.value) == one.number, "a number is that of its text", text);
  }
}

void read_conditions(std::string_view text) {
  fuzz::accepts([&] {
    const auto filter = store::parameter_filter(text);
    fuzz::require(!filter.key.empty() && text.starts_with(filter.key), "a condition begins with its name", text);
    fuzz::require(!filter.is || text.ends_with(filter.is->value), "and ends with its value", text);
  });
  fuzz::accepts([&] {
    const auto filter = store::metric_filter(text);
    fuzz::require(!filter.name.empty() && text.starts_with(filter.name), "the same of a metric", text);
  });
}

template <class Read>
void read_record(std::string_view text, const Read& read) {
  fuzz::require_stable(text, read, [](const auto& record) { return store::to_json(record); });
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  switch (input.choose(12)) {
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
    case 9:
      cut(input.rest());
      break;
    case 10:
      read_arguments(input.rest());
      break;
    default:
      read_conditions(input.rest());
  }
  return 0;
}
