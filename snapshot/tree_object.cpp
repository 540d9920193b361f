#include "snapshot/tree_object.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "runner/core/error.hpp"

namespace runner::snapshot {
namespace {

constexpr std::string_view kHeader = "runner tree 1\n";
constexpr std::size_t kNameLimit = 255;  // NAME_MAX

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameLimit && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

std::optional<EntryType> type_from(char letter) {
  for (const EntryType type : {EntryType::kFile, EntryType::kExecutable, EntryType::kSymlink, EntryType::kDirectory})
    if (letter == static_cast<char>(type)) return type;
  return std::nullopt;
}

// One entry off the front of `rest`; nothing if it is malformed.
std::optional<TreeEntry> take_entry(std::string_view& rest) {
  const auto type = type_from(rest.front());
  const std::size_t space = rest.find(' ');
  if (!type || space == std::string_view::npos || space < 2) return std::nullopt;
  TreeEntry entry{.name = {}, .type = *type, .content = {}};
  const std::string_view digits = rest.substr(1, space - 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), entry.bytes);
  if (error != std::errc{} || end != digits.data() + digits.size() || entry.bytes < 0) return std::nullopt;
  if (digits.front() == '-' || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;  // "-0", "007"
  if (entry.type == EntryType::kDirectory && entry.bytes != 0) return std::nullopt;
  rest.remove_prefix(space + 1);
  if (rest.size() < entry.content.bytes.size()) return std::nullopt;
  std::copy_n(rest.begin(), entry.content.bytes.size(), entry.content.bytes.begin());
  rest.remove_prefix(entry.content.bytes.size());
  const std::size_t nul = rest.find('\0');
  if (nul == std::string_view::npos || !is_name(rest.substr(0, nul))) return std::nullopt;
  entry.name = rest.substr(0, nul);
  rest.remove_prefix(nul + 1);
  return entry;
}

}  // namespace

TreeEncoder::TreeEncoder() : bytes_(kHeader) {}

void TreeEncoder::add(std::string_view name, EntryType type, const Hash& content, std::int64_t bytes) {
  if (!is_name(name) || name <= last_)
    throw Error(ErrorCode::kInternal, "tree: entry out of order: " + std::string(name));
  last_ = name;
  bytes_ += static_cast<char>(type);
  bytes_ += std::to_string(type == EntryType::kDirectory ? 0 : bytes);
  bytes_ += ' ';
  bytes_.append(reinterpret_cast<const char*>(content.bytes.data()), content.bytes.size());
  bytes_ += name;
  bytes_ += '\0';
}

std::vector<TreeEntry> decode_tree(std::string_view bytes) {
  if (!bytes.starts_with(kHeader)) throw Error(ErrorCode::kInternal, "snapshot tree: not one, or of a newer version");
  std::string_view rest = bytes.substr(kHeader.size());
  std::vector<TreeEntry> entries;
  while (!rest.empty()) {
    auto entry = take_entry(rest);
    if (!entry || (!entries.empty() && entry->name <= entries.back().name))
      throw Error(ErrorCode::kInternal, "snapshot tree: damaged behind entry " + std::to_string(entries.size()));
    entries.push_back(std::move(*entry));
  }
  return entries;
}

Hash sha256(std::span<const std::byte> content) {
  // Looked up once: with the name looked up every time a hash of 1 000 bytes costs a third more.
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Hash hash;
  unsigned length = 0;
  if (EVP_Digest(content.data(), content.size(), hash.bytes.data(), &length, algorithm, nullptr) != 1 ||
      length != hash.bytes.size())
    throw Error(ErrorCode::kInternal, "SHA-256 failed");
  return hash;
}

Hash sha256(std::string_view content) { return sha256(std::as_bytes(std::span(content.data(), content.size()))); }

}  // namespace runner::snapshot
