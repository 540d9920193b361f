// The formats that snapshots are kept in: tree objects, records of checkouts, stat caches. A damaged disk, or a hostile
// import.
#include <cstring>
#include <string>

#include "snapshot/checkout_record.hpp"
#include "snapshot/stat_cache.hpp"
#include "snapshot/stat_cache_source.hpp"
#include "snapshot/tree_object.hpp"
#include "tools/fuzz/input.hpp"

using namespace runner;

namespace {

const std::filesystem::path kSource = "/source";

void read_tree(std::string_view bytes) {
  std::vector<snapshot::TreeEntry> entries;
  if (!fuzz::accepts([&] { entries = snapshot::decode_tree(bytes); })) return;
  snapshot::TreeEncoder encoder;
  for (const auto& entry : entries) encoder.add(entry.name, entry.type, entry.content, entry.bytes);
  fuzz::require(encoder.bytes() == bytes, "a tree has one form only");
}

void read_record(std::string_view text) {
  const auto record = snapshot::decode_record(text);
  if (!record) return;
  const std::string printed = snapshot::encode_record(*record);
  const auto again = snapshot::decode_record(printed);
  fuzz::require(again && snapshot::encode_record(*again) == printed, "a record survives", text, printed);
}

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
}

// The checks are as they should be: what stands behind them is what is to be read.
std::string stat_cache_of(std::string_view path, std::string_view fields) {
  constexpr std::size_t kCheck = 16;
  const auto check_of = [](std::string_view bytes) {
    const Hash hash = snapshot::sha256(bytes);
    return std::string(reinterpret_cast<const char*>(hash.bytes.data()), kCheck);
  };
  std::string file = "runner stat cache 2\n";
  append(file, static_cast<std::uint32_t>(kSource.native().size()));
  file += kSource.native();
  file += check_of(file);
  std::string record(fields.substr(0, 48));  // generation, tree, the two counts
  record.resize(48);
  append(record, static_cast<std::uint32_t>(path.size()));
  record += path;
  if (fields.size() > 48) record += fields.substr(48);
  append(file, static_cast<std::uint32_t>(record.size() + kCheck));
  return file + check_of(record) + record;
}

void read_stat_cache(const std::filesystem::path& file, std::string_view path) {
  snapshot::stat_cache_source(file);
  const snapshot::StatCache cache(file, kSource);
  auto record = cache.find(path);
  cache.peek("a/b/");
  if (!record) return;
  std::size_t bytes = 0;
  snapshot::StatCache::File found;
  for (std::size_t i = 0; i < record->files && record->next_file(found); ++i) bytes += found.name.size();
  snapshot::StatCache::Subdirectory directory;
  for (std::size_t i = 0; i < record->directories && record->next_directory(directory); ++i)
    bytes += directory.name.size();
  fuzz::require(bytes <= std::filesystem::file_size(file), "names are in the file");
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::ScratchDirectory scratch;
  fuzz::Input input(data, size);
  switch (input.choose(4)) {
    case 0:
      read_tree(input.rest());
      break;
    case 1:
      read_record(input.rest());
      break;
    case 2:
      read_stat_cache(scratch.write("stat", input.rest()), "");
      break;
    default: {
      const std::string_view path = input.take_until('\n');
      read_stat_cache(scratch.write("stat", stat_cache_of(path, input.rest())), path);
    }
  }
  return 0;
}
