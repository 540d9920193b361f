#include "store/sql_text.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runner/core/error.hpp"

namespace runner::store {
namespace {

// A name (in lower case, without its quotes), a parenthesis or another sign; everything else is left out.
struct Token {
  bool is_name = false;
  std::string text;
};

bool is_name_byte(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return std::isalnum(byte) != 0 || c == '_' || c == '$' || byte >= 0x80;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

// As SQLite's tokenizer cuts it, as far as it matters here. What it takes for a text may be a name, too.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : rest_(text) {}

  std::optional<Token> next() {
    while (!rest_.empty()) {
      const char c = rest_.front();
      if (rest_.starts_with("--")) {
        skip(std::min(rest_.find('\n'), rest_.size()));
      } else if (rest_.starts_with("/*")) {
        const auto end = rest_.find("*/", 2);
        skip(end == std::string_view::npos ? rest_.size() : end + 2);
      } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
        return Token{true, lower(quoted(c == '[' ? ']' : c))};
      } else if (is_name_byte(c)) {
        const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_name_byte);
        const auto size = static_cast<std::size_t>(end - rest_.begin());
        Token token{true, lower(rest_.substr(0, size))};
        skip(size);
        return token;
      } else {
        Token token{false, std::string(1, c)};
        skip(1);
        if (c == '(' || c == ')') return token;
      }
    }
    return std::nullopt;
  }

 private:
  void skip(std::size_t bytes) { rest_.remove_prefix(bytes); }

  std::string quoted(char end) {
    std::string text;
    for (skip(1); !rest_.empty(); skip(1)) {
      if (rest_.front() != end) {
        text += rest_.front();
      } else if (end != ']' && rest_.size() > 1 && rest_[1] == end) {
        text += end;
        skip(1);
      } else {
        skip(1);
        break;
      }
    }
    return text;
  }

  std::string_view rest_;
};

Error too_much(const std::string& what) {
  return Error(ErrorCode::kInvalid, "sql: " + what, "ask in several simpler queries");
}

bool is(const std::vector<Token>& tokens, std::size_t at, std::string_view text) {
  return at < tokens.size() && tokens[at].text == text;
}

// What `AS (` defines: the name before it, or before its list of columns.
std::optional<std::string> defined_before(const std::vector<Token>& tokens, std::size_t as) {
  if (as == 0) return std::nullopt;
  std::size_t at = as - 1;
  if (tokens[at].is_name) return tokens[at].text;
  for (std::size_t open = 0;; --at) {
    if (is(tokens, at, ")")) ++open;
    if (is(tokens, at, "(") && --open == 0) break;
    if (at == 0) return std::nullopt;
  }
  if (at == 0 || !tokens[at - 1].is_name) return std::nullopt;
  return tokens[at - 1].text;
}

bool opens_definition(const std::vector<Token>& tokens, std::size_t as) {
  std::size_t at = as + 1;
  if (is(tokens, at, "not")) ++at;
  if (is(tokens, at, "materialized")) ++at;
  return is(tokens, at, "(");
}

}  // namespace

void check_sql_text(std::string_view query, const SqlTextLimits& limits) {
  if (query.find('\0') != std::string_view::npos) throw Error(ErrorCode::kInvalid, "sql: the query holds a NUL byte");
  if (query.size() > limits.bytes)
    throw too_much("the query is longer than " + std::to_string(limits.bytes) + " bytes");
  std::vector<Token> tokens;
  std::map<std::string, std::size_t> uses;
  std::size_t depth = 0;
  Tokens reading(query);
  while (auto token = reading.next()) {
    if (token->is_name) {
      ++uses[token->text];
    } else if (token->text == "(") {
      if (++depth > limits.depth) throw too_much("parentheses more than " + std::to_string(limits.depth) + " deep");
    } else if (depth > 0) {
      --depth;
    }
    tokens.push_back(std::move(*token));
  }
  std::vector<std::string> defined;
  for (std::size_t at = 0; at < tokens.size(); ++at)
    if (tokens[at].is_name && tokens[at].text == "as" && opens_definition(tokens, at))
      if (auto name = defined_before(tokens, at)) defined.push_back(std::move(*name));
  if (defined.size() > limits.definitions)
    throw too_much("WITH defines more than " + std::to_string(limits.definitions) + " names");
  std::size_t copies = 1;
  for (const std::string& name : defined) {
    copies *= std::max<std::size_t>(1, uses[name] - 1);  // of which one is the definition
    if (copies > limits.copies) throw too_much("what WITH defines is used too often, one definition in another");
  }
}

}  // namespace runner::store
