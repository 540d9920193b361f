#include "snapshot/checkout_record.hpp"

#include <charconv>
#include <utility>

namespace runner::snapshot {
namespace {

constexpr std::string_view kHeader = "runner checkout 1";

// Takes lines off the front of a text; remembers whether one was not as expected.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {}

  std::string_view next() {
    const std::size_t end = rest_.find('\n');
    if (end == std::string_view::npos) {
      good_ = false;
      return {};
    }
    const std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }

  std::string_view value_of(std::string_view key) {
    const std::string_view line = next();
    if (line.size() <= key.size() || !line.starts_with(key) || line[key.size()] != ' ') {
      good_ = false;
      return {};
    }
    return line.substr(key.size() + 1);
  }

  std::int64_t number_of(std::string_view key) {
    const std::string_view digits = value_of(key);
    std::int64_t number = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size() || number < 0) good_ = false;
    return number;
  }

  bool good() const { return good_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool good_ = true;
};

}  // namespace

std::string encode_record(const CheckoutRecord& record) {
  std::string text(kHeader);
  text += "\nweight " + std::to_string(record.weight) + "\ndisk " + std::to_string(record.disk) + "\nboot " +
          record.boot + "\nsynced " + (record.synced ? "1" : "0") + "\n";
  for (const Hash& hash : record.below) text += "below " + hash.hex() + "\n";
  return text + "end\n";
}

std::optional<CheckoutRecord> decode_record(std::string_view text) {
  Lines lines(text);
  if (lines.next() != kHeader) return std::nullopt;
  CheckoutRecord record;
  record.weight = lines.number_of("weight");
  record.disk = lines.number_of("disk");
  record.boot = lines.value_of("boot");
  const std::string_view synced = lines.value_of("synced");
  if (!lines.good() || (synced != "0" && synced != "1")) return std::nullopt;
  record.synced = synced == "1";
  for (;;) {
    const std::string_view line = lines.next();
    if (line == "end") break;
    constexpr std::string_view kBelow = "below ";
    const auto hash = line.starts_with(kBelow) ? Hash::from_hex(line.substr(kBelow.size())) : std::nullopt;
    if (!hash) return std::nullopt;
    record.below.push_back(*hash);
  }
  if (!lines.good() || !lines.empty()) return std::nullopt;
  return record;
}

}  // namespace runner::snapshot
