#include "store/parameters.hpp"

#include <charconv>
#include <cmath>
#include <map>
#include <span>
#include <utility>

namespace runner::store {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// Words as programs name their options: what a path, a URL or a sentence with "=" in it is not.
bool is_name(std::string_view text) {
  if (text.empty() || !is_letter(text.front())) return false;
  for (const char c : text)
    if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '.' && c != '-') return false;
  return true;
}

// "--lr" → "lr"; nothing for what is no option.
std::optional<std::string_view> option_name(std::string_view word) {
  if (word.size() < 2 || word.front() != '-') return std::nullopt;
  word.remove_prefix(word[1] == '-' ? 2 : 1);
  const std::string_view name = word.substr(0, word.find('='));
  if (!is_name(name)) return std::nullopt;
  return name;
}

class Taken {
 public:
  void add(std::string_view key, std::string_view value) {
    if (key.size() > kMaxParameter || value.size() > kMaxParameter) return;
    if (values_.size() >= kMaxParameters && !values_.contains(key)) return;
    values_[std::string(key)] = value;
  }
  std::vector<Parameter> all() const {
    std::vector<Parameter> parameters;
    for (const auto& [key, value] : values_)
      parameters.push_back({.key = key, .value = std::string(value), .number = number_of(value)});
    return parameters;
  }

 private:
  std::map<std::string, std::string_view, std::less<>> values_;
};

void take(std::span<const std::string> words, bool short_options, Taken& taken) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string_view word = words[i];
    const std::size_t equals = word.find('=');
    if (word == "--") {
      for (++i; i < words.size(); ++i)  // still NAME=VALUE, as Hydra takes them
        if (const auto at = words[i].find('=');
            at != std::string::npos && is_name(std::string_view(words[i]).substr(0, at)))
          taken.add(std::string_view(words[i]).substr(0, at), std::string_view(words[i]).substr(at + 1));
      return;
    }
    if (const auto name = option_name(word)) {
      if (!short_options && !word.starts_with("--")) continue;
      if (equals != std::string_view::npos) {
        taken.add(*name, word.substr(equals + 1));
      } else if (i + 1 < words.size() && words[i + 1] != "--" && !option_name(words[i + 1])) {
        taken.add(*name, words[++i]);
      } else {
        taken.add(*name, "true");
      }
      continue;
    }
    if (equals == std::string_view::npos) continue;
    std::string_view name = word.substr(0, equals);
    while (name.starts_with('+')) name.remove_prefix(1);
    if (is_name(name)) taken.add(name, word.substr(equals + 1));
  }
}

}  // namespace

std::optional<Number> number_of(std::string_view text) {
  const char* const end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, integer);
      error == std::errc() && at == end && at != text.data())
    return integer;
  double real = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, real);
      error == std::errc() && at == end && at != text.data() && !std::isnan(real))
    return real;
  return std::nullopt;
}

std::vector<Parameter> parameters_of(const RunDefinition& definition) {
  Taken taken;
  if (definition.command.empty())
    take(definition.arguments, true, taken);
  else
    take(std::span(definition.command).subspan(1), false, taken);
  return taken.all();
}

}  // namespace runner::store
