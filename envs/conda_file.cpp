// One walk over the YAML nodes; every complaint has the line and column of its node. Nothing here recurses: aliases
// that refer to each other cannot blow it up, and what a file may hold is counted.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "envs/conda_channel.hpp"
#include "envs/credentials.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = 1 << 20;   // of a file: real ones have 2 kB
constexpr std::size_t kMaxEntries = 10'000;  // of all lists together
constexpr std::size_t kMaxText = 32 << 10;   // of one scalar: many aliases could repeat a long one
constexpr std::array<std::string_view, 5> kKeys{"name", "channels", "dependencies", "variables", "prefix"};

std::size_t count_lines(std::string_view text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

// Where the first byte is that is no UTF-8; npos: nowhere. Overlong forms and surrogates count as UTF-8: nobody here
// depends on them.
std::size_t invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const std::size_t length = byte < 0x80                   ? 1
                               : byte >= 0xC2 && byte < 0xE0 ? 2
                               : (byte & 0xF0) == 0xE0       ? 3
                               : byte >= 0xF0 && byte < 0xF5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return i;
    for (std::size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return i;
    i += length;
  }
  return std::string_view::npos;
}

// Where a document begins; what is in it is read by somebody else.
struct DocumentStart : YAML::EventHandler {
  YAML::Mark mark;
  void OnDocumentStart(const YAML::Mark& where) override { mark = where; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

class CondaFile {
 public:
  CondaFile(std::string label, fs::path directory) : label_(std::move(label)), directory_(std::move(directory)) {}

  ReadSpecification read(std::string_view text) {
    found_.specification.kind = SpecificationKind::kConda;
    const YAML::Node root = parse(text);
    if (root.IsNull()) throw Error(ErrorCode::kInvalid, label_ + ": empty", kHint);
    if (!root.IsMap()) refuse(root, "not a conda environment file: no keys in it", kHint);
    bool has_dependencies = false;
    std::set<std::string> seen;
    for (const auto& item : root) {
      const std::string key = text_of(item.first, "a key");
      if (!seen.insert(key).second) refuse(item.first, "'" + key + "' is there twice", "merge them");
      has_dependencies = has_dependencies || key == "dependencies";
      take(key, item.first, item.second);
    }
    if (!has_dependencies) throw Error(ErrorCode::kInvalid, label_ + ": no 'dependencies'", kHint);
    finish();
    return std::move(found_);
  }

 private:
  static constexpr const char* kHint = "a conda environment file has channels: and dependencies:, each with a list";

  YAML::Node parse(std::string_view text) {
    if (text.size() > kMaxBytes)
      throw Error(ErrorCode::kInvalid, label_ + ": larger than 1 MiB, no conda environment file");
    if (const auto bad = std::min(invalid_utf8(text), text.find('\0')); bad != std::string_view::npos)
      throw Error(ErrorCode::kInvalid,
                  label_ + ":" + std::to_string(count_lines(text.substr(0, bad)) + 1) + ": not UTF-8 text",
                  "save it as UTF-8");
    try {
      refuse_second_document(text);
      return YAML::Load(std::string(text));
    } catch (const YAML::Exception& error) {
      throw Error(ErrorCode::kInvalid, place(error.mark) + "not YAML: " + error.msg);
    }
  }

  // Not YAML::LoadAll: at a ',' between documents it goes round for ever, and takes memory each time.
  void refuse_second_document(std::string_view text) const {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    DocumentStart start;
    if (parser.HandleNextDocument(start) && parser.HandleNextDocument(start))
      throw Error(ErrorCode::kInvalid, place(start.mark) + "a second YAML document", "keep one of them");
  }

  std::string place(const YAML::Mark& mark) const {
    if (mark.is_null()) return label_ + ": ";
    return label_ + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1) + ": ";
  }

  [[noreturn]] void refuse(const YAML::Node& node, const std::string& why, const std::string& hint = {}) const {
    throw Error(ErrorCode::kInvalid, place(node.Mark()) + without_credentials_in(why, without_channel_credentials),
                without_credentials_in(hint, without_channel_credentials));
  }

  void warn(const YAML::Node& node, const std::string& what) { found_.warnings.push_back(place(node.Mark()) + what); }

  std::string text_of(const YAML::Node& node, const std::string& what) {
    if (++entries_ > kMaxEntries) refuse(node, "more than 10 000 entries");
    if (!node.IsScalar())
      refuse(node, what + " must be text, not a " + (node.IsMap() ? "mapping" : node.IsSequence() ? "list" : "null"));
    if (node.Scalar().size() > kMaxText) refuse(node, what + " is longer than 32 KiB");
    return node.Scalar();
  }

  // A list's items less the empty ones; null is an empty list.
  std::vector<YAML::Node> items_of(const YAML::Node& node, const std::string& what) {
    if (node.IsNull()) return {};
    if (!node.IsSequence()) refuse(node, "'" + what + "' must be a list", "one a line: `- ITEM`");
    std::vector<YAML::Node> items;
    for (const YAML::Node& item : node)
      if (++entries_ > kMaxEntries)
        refuse(node, "more than 10 000 entries");
      else if (!item.IsNull())
        items.push_back(item);
    return items;
  }

  void take(const std::string& key, const YAML::Node& key_node, const YAML::Node& value) {
    if (key == "name") {
      if (!value.IsNull()) found_.name = text_of(value, "'name'");
    } else if (key == "channels") {
      for (const YAML::Node& item : items_of(value, key)) add_channel(item);
    } else if (key == "dependencies") {
      for (const YAML::Node& item : items_of(value, key)) add_dependency(item);
    } else if (key == "variables") {
      add_variables(value);
    } else if (key != "prefix") {
      const std::string_view meant = nearest(key, kKeys);
      warn(key_node,
           "unknown key '" + key + "'" + (meant.empty() ? "" : ", did you mean '" + std::string(meant) + "'?"));
    }
  }

  void add_channel(const YAML::Node& item) {
    const std::string written = text_of(item, "a channel");
    std::string channel = written;
    if (channel.starts_with("./") || channel.starts_with("../") || channel.starts_with("/") || channel == ".")
      channel = "file://" + (directory_ / channel).lexically_normal().string();
    while (channel.size() > 1 && channel.ends_with('/') && !channel.ends_with("//")) channel.pop_back();
    if (channel.empty()) refuse(item, "a channel without a name");
    channel = keep_secrets(channel);
    auto& channels = found_.specification.channels;
    if (std::find(channels.begin(), channels.end(), channel) == channels.end()) channels.push_back(channel);
  }

  // "user:password@" and conda's "/t/TOKEN/" go to the credentials.
  std::string keep_secrets(const std::string& url) {
    std::string stripped = without_channel_credentials(url).url;
    if (stripped != url) found_.credentials[stripped] = url;
    return stripped;
  }

  void add_dependency(const YAML::Node& item) {
    if (item.IsMap()) return add_sublist(item);
    try {
      const std::string spec = normalised_match_spec(text_of(item, "a package"));
      found_.specification.conda.push_back(
          with_changed_urls(spec, [this](const std::string& url) { return keep_secrets(url); }));
    } catch (const Error& error) {
      if (error.message().starts_with(label_)) throw;
      refuse(item, error.message(), error.hint());
    }
  }

  void add_sublist(const YAML::Node& item) {
    for (const auto& pair : item) {
      const std::string key = text_of(pair.first, "a package");
      if (key != "pip")
        refuse(pair.first, "'" + key + ":' below 'dependencies': only pip has a list of its own",
               pair.second.IsScalar() ? "write " + key + "=" + pair.second.Scalar().substr(0, 100) : "");
      for (const YAML::Node& line : items_of(pair.second, "pip")) add_pip_line(line);
      has_sublist_ = true;
    }
  }

  void add_pip_line(const YAML::Node& item) {
    ReadSpecification read =
        parse_requirements(text_of(item, "a requirement"), label_, directory_, item.Mark().line + 1);
    Specification& to = found_.specification;
    const auto append = [](std::vector<std::string>& all, std::vector<std::string>& more) {
      for (std::string& one : more)
        if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(std::move(one));
    };
    append(to.pip, read.specification.pip);
    append(to.pip_options, read.specification.pip_options);
    append(to.constraints, read.specification.constraints);
    to.files.merge(read.specification.files);
    found_.credentials.merge(read.credentials);
    found_.warnings.insert(found_.warnings.end(), read.warnings.begin(), read.warnings.end());
  }

  void add_variables(const YAML::Node& value) {
    if (value.IsNull()) return;
    if (!value.IsMap()) refuse(value, "'variables' must be a mapping", "one a line: `NAME: VALUE`");
    for (const auto& pair : value) {
      const std::string name = text_of(pair.first, "a variable's name");
      if (name.empty() || name.find_first_of(std::string_view("=\0", 2)) != std::string::npos)
        refuse(pair.first, "'" + name + "' is no name of a variable");
      const std::string text = pair.second.IsNull() ? "" : text_of(pair.second, "the variable '" + name + "'");
      if (text.find('\0') != std::string::npos) refuse(pair.second, "the variable '" + name + "' has a NUL in it");
      if (!found_.variables.emplace(name, text).second)
        refuse(pair.first, "the variable '" + name + "' is there twice");
    }
  }

  // Order has no meaning among packages. A pip sublist needs pip.
  void finish() {
    std::vector<std::string>& conda = found_.specification.conda;
    const bool has_pip = std::any_of(conda.begin(), conda.end(), [](const std::string& spec) {
      const auto colons = spec.rfind("::");
      const std::string_view name = std::string_view(spec).substr(colons == std::string::npos ? 0 : colons + 2);
      return name.substr(0, name.find_first_of("=<>!~ [")) == "pip";
    });
    if (has_sublist_ && !has_pip && !found_.specification.pip.empty()) conda.push_back("pip");
    for (auto* list : {&conda, &found_.specification.pip, &found_.specification.constraints}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
  }

  const std::string label_;
  const fs::path directory_;
  ReadSpecification found_;
  std::size_t entries_ = 0;
  bool has_sublist_ = false;
};

}  // namespace

ReadSpecification parse_conda(std::string_view yaml, const std::string& label, const fs::path& directory) {
  return CondaFile(label, directory).read(yaml);
}

ReadSpecification read_conda_file(const fs::path& file) {
  std::error_code error;
  if (fs::is_directory(file, error))
    throw Error(ErrorCode::kInvalid, file.string() + ": a directory, no conda environment file");
  return parse_conda(os::read_file(file, kMaxBytes), file.string(), fs::absolute(file).parent_path());
}

}  // namespace runner::envs
