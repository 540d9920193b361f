#include "envs/dockerfile_text.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <set>

#include "envs/build_context.hpp"
#include "runner/core/error.hpp"

namespace runner::envs {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

std::string_view trimmed_left(std::string_view text) {
  const auto begin = text.find_first_not_of(kBlanks);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

std::string_view trimmed(std::string_view text) {
  text = trimmed_left(text);
  while (!text.empty() && kBlanks.find(text.back()) != std::string_view::npos) text.remove_suffix(1);
  return text;
}

std::string changed_case(std::string_view text, int (*change)(int)) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(change(static_cast<unsigned char>(c)));
  return result;
}
std::string upper(std::string_view text) { return changed_case(text, &std::toupper); }
std::string lower(std::string_view text) { return changed_case(text, &std::tolower); }

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

class Lines {
 public:
  explicit Lines(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }
  bool any() const { return !rest_.empty(); }
  int number() const { return number_; }  // of the line that was taken last
  std::string_view peek() const { return rest_.substr(0, rest_.find('\n')); }
  std::string_view take() {
    std::string_view line = peek();
    rest_.remove_prefix(std::min(line.size() + 1, rest_.size()));
    ++number_;
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

 private:
  std::string_view rest_;
  int number_ = 0;
};

// "# escape=`" above everything else; other directives are passed over, a comment ends them.
char take_directives(Lines& lines) {
  char escape = '\\';
  while (lines.any()) {
    std::string_view line = trimmed(lines.peek());
    if (!line.starts_with('#')) break;
    line = trimmed_left(line.substr(1));
    const auto equals = line.find('=');
    if (equals == std::string_view::npos) break;
    const std::string_view key = trimmed(line.substr(0, equals));
    if (key.empty() || !std::all_of(key.begin(), key.end(), is_name)) break;
    const std::string_view value = trimmed(line.substr(equals + 1));
    if (lower(key) == "escape" && value.size() == 1) escape = value[0];
    lines.take();
  }
  return escape;
}

// True, and the mark is taken off, if the line goes on in the next one.
bool takes_continuation(std::string_view& line, char escape) {
  std::string_view end = line;
  while (!end.empty() && (end.back() == ' ' || end.back() == '\t')) end.remove_suffix(1);
  if (!end.ends_with(escape)) return false;
  if (end.size() > 1 && end[end.size() - 2] == escape) return false;
  line = end.substr(0, end.size() - 1);
  return true;
}

// "<<EOF", "<<-EOF", "<<'EOF'", with a file descriptor before it or not.
std::optional<std::string> heredoc_of(std::string_view word) {
  while (!word.empty() && std::isdigit(static_cast<unsigned char>(word[0])) != 0) word.remove_prefix(1);
  if (!word.starts_with("<<") || word.starts_with("<<<")) return std::nullopt;
  word.remove_prefix(2);
  if (word.starts_with('-')) word.remove_prefix(1);
  if (word.size() > 2 && (word[0] == '"' || word[0] == '\'') && word.back() == word[0])
    word = word.substr(1, word.size() - 2);
  if (word.empty() || !std::all_of(word.begin(), word.end(), is_name)) return std::nullopt;
  return std::string(word);
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (text = trimmed_left(text); !text.empty(); text = trimmed_left(text)) {
    const auto end = std::min(text.find_first_of(kBlanks), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return words;
}

void take_flags(DockerfileInstruction& instruction) {
  std::string_view rest = trimmed(instruction.rest);
  while (rest.starts_with("--")) {
    const auto end = std::min(rest.find_first_of(kBlanks), rest.size());
    const std::string_view flag = rest.substr(2, end - 2);
    rest = trimmed_left(rest.substr(end));
    if (flag.empty()) break;
    const auto equals = flag.find('=');
    instruction.flags.emplace_back(flag.substr(0, equals),
                                   equals == std::string_view::npos ? std::string_view() : flag.substr(equals + 1));
  }
  instruction.rest = std::string(rest);
}

void pass_heredocs(Lines& lines, DockerfileInstruction& instruction) {
  if (instruction.keyword != "RUN" && instruction.keyword != "COPY" && instruction.keyword != "ADD") return;
  for (const std::string_view word : words_of(instruction.rest))
    if (auto name = heredoc_of(word)) instruction.heredocs.push_back(std::move(*name));
  for (const std::string& name : instruction.heredocs)
    while (lines.any()) {
      std::string_view line = lines.take();
      while (line.starts_with('\t')) line.remove_prefix(1);
      if (line == name) break;
    }
}

const std::string* flag_of(const DockerfileInstruction& instruction, std::string_view name) {
  for (const auto& [key, value] : instruction.flags)
    if (key == name) return &value;
  return nullptr;
}

bool copies_from_context(const DockerfileInstruction& instruction) {
  if (instruction.keyword == "RUN") {  // --mount=type=bind,source=…: of the context unless it says from=
    const std::string* mount = flag_of(instruction, "mount");
    return mount != nullptr && ("," + *mount).find(",from=") == std::string::npos &&
           (mount->find("type=") == std::string::npos || mount->find("type=bind") != std::string::npos);
  }
  if (instruction.keyword != "COPY" && instruction.keyword != "ADD") return false;
  if (flag_of(instruction, "from") != nullptr) return false;
  const std::vector<std::string_view> words = words_of(instruction.rest);
  if (words.empty() || words[0].starts_with('[')) return true;
  return std::any_of(words.begin(), words.end() - 1, [&](std::string_view word) {
    const bool url = instruction.keyword == "ADD" && (word.starts_with("http://") || word.starts_with("https://"));
    return !url && !heredoc_of(word);
  });
}

// What ARG lines before the first FROM say.
void take_argument(const DockerfileInstruction& instruction, char escape,
                   const std::map<std::string, std::string>& given, std::map<std::string, std::string>& variables) {
  for (const std::string_view word : words_of(instruction.rest)) {
    const auto equals = word.find('=');
    const std::string name(word.substr(0, equals));
    if (const auto at = given.find(name); at != given.end())
      variables[name] = at->second;
    else if (equals != std::string_view::npos)
      variables[name] = expand_dockerfile_word(word.substr(equals + 1), variables, escape);
  }
}

Error at_line(int line, const std::string& why) {
  return Error(ErrorCode::kInvalid, "Dockerfile:" + std::to_string(line) + ": " + why);
}

}  // namespace

DockerfileText parse_dockerfile(std::string_view text) {
  Lines lines(text);
  DockerfileText dockerfile;
  dockerfile.escape = take_directives(lines);
  while (lines.any()) {
    std::string_view line = trimmed_left(lines.take());
    if (line.empty() || line.starts_with('#')) continue;
    DockerfileInstruction instruction{.line = lines.number(), .keyword = {}};
    std::string whole;
    bool goes_on = takes_continuation(line, dockerfile.escape);
    whole += line;
    while (goes_on && lines.any()) {
      line = lines.take();
      // Comments and empty lines do not end what goes on.
      if (const std::string_view seen = trimmed_left(line); seen.empty() || seen.starts_with('#')) continue;
      goes_on = takes_continuation(line, dockerfile.escape);
      whole += line;
    }
    const auto end = std::min(whole.find_first_of(kBlanks), whole.size());
    instruction.keyword = upper(std::string_view(whole).substr(0, end));
    instruction.rest = whole.substr(end);
    take_flags(instruction);
    pass_heredocs(lines, instruction);
    dockerfile.instructions.push_back(std::move(instruction));
  }
  return dockerfile;
}

namespace {

// "${NAME…}" after its "${"; `word` stands behind its "}" afterwards.
std::string expand_braces(std::string_view& word, const std::map<std::string, std::string>& variables, char escape) {
  std::size_t depth = 1;
  std::size_t end = 0;
  for (; end < word.size(); ++end) {
    if (word[end] == '{') ++depth;
    if (word[end] == '}' && --depth == 0) break;
  }
  std::string_view inner = word.substr(0, end);
  word.remove_prefix(std::min(end + 1, word.size()));
  std::size_t length = 0;
  while (length < inner.size() && is_name(inner[length])) ++length;
  const auto at = variables.find(std::string(inner.substr(0, length)));
  inner.remove_prefix(length);
  bool set = at != variables.end();
  if (inner.starts_with(':')) {
    inner.remove_prefix(1);
    set = set && !at->second.empty();
  }
  const std::string value = at == variables.end() ? "" : at->second;
  if (inner.starts_with('-')) return set ? value : expand_dockerfile_word(inner.substr(1), variables, escape);
  if (inner.starts_with('+')) return set ? expand_dockerfile_word(inner.substr(1), variables, escape) : "";
  return value;
}

}  // namespace

std::string expand_dockerfile_word(std::string_view word, const std::map<std::string, std::string>& variables,
                                   char escape) {
  std::string result;
  char quote = 0;
  while (!word.empty()) {
    const char c = word[0];
    word.remove_prefix(1);
    if (c == escape && quote != '\'' && !word.empty()) {
      result += word[0];
      word.remove_prefix(1);
    } else if (quote != 0 ? c == quote : c == '"' || c == '\'') {
      quote = quote == 0 ? c : char{0};
    } else if (c != '$' || quote == '\'' || word.empty()) {
      result += c;
    } else if (word[0] == '{') {
      word.remove_prefix(1);
      result += expand_braces(word, variables, escape);
    } else if (!is_name(word[0])) {
      result += c;
    } else {
      std::size_t length = 0;
      while (length < word.size() && is_name(word[length])) ++length;
      const auto at = variables.find(std::string(word.substr(0, length)));
      if (at != variables.end()) result += at->second;
      word.remove_prefix(length);
    }
  }
  return result;
}

int line_of_step(const DockerfileText& dockerfile, int stage, int number, std::string_view said) {
  int stages = 0;
  int counted = 0;
  for (const DockerfileInstruction& instruction : dockerfile.instructions) {
    if (instruction.keyword == "FROM") {
      ++stages;
      if (stage > 0) counted = 0;
    }
    if (stage > 0 && stages != stage) continue;
    if (++counted != number) continue;
    const std::string_view keyword = said.substr(0, said.find_first_of(kBlanks));
    return upper(keyword) == instruction.keyword ? instruction.line : 0;
  }
  return 0;
}

bool needs_context(const std::string& dockerfile) {
  const DockerfileText text = parse_dockerfile(dockerfile);
  return std::any_of(text.instructions.begin(), text.instructions.end(), copies_from_context);
}

std::vector<std::string> base_images(const std::string& dockerfile,
                                     const std::map<std::string, std::string>& build_arguments) {
  const DockerfileText text = parse_dockerfile(dockerfile);
  std::map<std::string, std::string> variables;
  std::set<std::string> stages;
  std::vector<std::string> images;
  bool any_stage = false;
  const auto add = [&](const std::string& image) {
    if (image != "scratch" && !stages.contains(lower(image)) &&
        std::find(images.begin(), images.end(), image) == images.end())
      images.push_back(image);
  };
  for (const DockerfileInstruction& instruction : text.instructions) {
    if (instruction.keyword == "ARG" && !any_stage) take_argument(instruction, text.escape, build_arguments, variables);
    const std::string* from = flag_of(instruction, "from");
    if (instruction.keyword == "COPY" && from != nullptr && from->find_first_not_of("0123456789") != std::string::npos)
      add(*from);
    if (instruction.keyword != "FROM") continue;
    any_stage = true;
    const std::vector<std::string_view> words = words_of(instruction.rest);
    if (words.empty()) throw at_line(instruction.line, "FROM without an image");
    const std::string image = expand_dockerfile_word(words[0], variables, text.escape);
    if (image.empty())
      throw at_line(instruction.line, "FROM " + std::string(words[0]) + " names no image: its variable has no value");
    add(image);
    if (words.size() == 3 && lower(words[1]) == "as") stages.insert(lower(words[2]));
  }
  if (!any_stage)
    throw at_line(text.instructions.empty() ? 1 : text.instructions.front().line, "no FROM: an image needs a base");
  return images;
}

}  // namespace runner::envs
