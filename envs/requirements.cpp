// pip's file grammar, by pip's own source (pip/_internal/req/req_file.py): a line is a requirement with options of its
// own, or options of the whole file. Where pip takes what cannot be built again (editables, directories) or passes over
// what it does not understand, this is stricter.
#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <utility>

#include "envs/artefact_name.hpp"
#include "envs/credentials.hpp"
#include "envs/digest.hpp"
#include "envs/requirements_text.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
constexpr const char* kHintDirectory =
    "make a wheel of it (pip wheel --no-deps DIRECTORY) and name that, or leave it out: the run's snapshot has its own "
    "code";

// Options of the file: every spelling, and the one that is kept.
struct FileOption {
  std::string_view spelling;
  std::string_view name;
  bool has_value;
};
constexpr std::array<FileOption, 19> kFileOptions{{
    {"-r", "--requirement", true},
    {"--requirement", "--requirement", true},
    {"-c", "--constraint", true},
    {"--constraint", "--constraint", true},
    {"-e", "--editable", true},
    {"--editable", "--editable", true},
    {"-i", "--index-url", true},
    {"--index-url", "--index-url", true},
    {"--pypi-url", "--index-url", true},
    {"--extra-index-url", "--extra-index-url", true},
    {"-f", "--find-links", true},
    {"--find-links", "--find-links", true},
    {"--no-binary", "--no-binary", true},
    {"--only-binary", "--only-binary", true},
    {"--trusted-host", "--trusted-host", true},
    {"--no-index", "--no-index", false},
    {"--pre", "--pre", false},
    {"--prefer-binary", "--prefer-binary", false},
    {"--require-hashes", "--require-hashes", false},
}};

struct GivenOption {
  std::string name;
  std::string value;
};

bool has_scheme(std::string_view text) {
  const auto end = text.find(':');
  if (end == 0 || end == std::string_view::npos || !text.substr(end).starts_with("://"))
    return text.starts_with("file:");
  return std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
  });
}

bool is_hexadecimal(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; });
}

// The position after the options' beginning: the first word that starts with '-', as pip cuts.
std::size_t options_at(std::string_view line) {
  for (std::size_t i = 0; i < line.size(); ++i)
    if (line[i] == '-' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) return i;
  return line.size();
}

std::string trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

class RequirementsReader {
 public:
  void read_file(const fs::path& file, bool as_constraints) {
    std::error_code ignored;
    if (fs::is_directory(file, ignored)) throw Error(ErrorCode::kInvalid, file.string() + ": is a directory");
    const fs::path real = fs::weakly_canonical(file, ignored);
    if (std::find(open_.begin(), open_.end(), real) != open_.end())
      throw Error(ErrorCode::kInvalid, file.string() + ": includes itself, through -r or -c");
    open_.push_back(real);
    read_text(os::read_file(file, kMaxBytes), file.string(), fs::absolute(file).parent_path(), 1, as_constraints);
    open_.pop_back();
  }

  void read_text(std::string_view text, const std::string& label, const fs::path& directory, int first_line,
                 bool as_constraints) {
    for (const RequirementsLine& line : requirements_lines(text, label, first_line)) {
      place_ = label + ":" + std::to_string(line.number);
      directory_ = directory;
      as_constraints_ = as_constraints;
      try {
        take_line(line.text);
      } catch (const Error& error) {
        // An error of an included file has its own place.
        if (placed_) throw;
        placed_ = true;
        // Messages quote the file; what stands in its URLs is not for the screen.
        throw Error(error.code(), place_ + ": " + without_credentials_in(error.message()), error.hint());
      }
    }
  }

  ReadSpecification take() {
    Specification& specification = found_.specification;
    specification.kind = SpecificationKind::kVenv;
    for (auto* list : {&specification.pip, &specification.constraints}) {
      std::sort(list->begin(), list->end());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
    return std::move(found_);
  }

 private:
  [[noreturn]] static void fail(const std::string& why, const std::string& hint = {}) {
    throw Error(ErrorCode::kInvalid, why, hint);
  }

  void take_line(const std::string& line) {
    require_one_line(line);
    const auto cut = options_at(line);
    const std::string requirement = trimmed(std::string_view(line).substr(0, cut));
    const auto words = shell_words(std::string_view(line).substr(cut));
    if (!requirement.empty())
      take_requirement(requirement, words);
    else
      take_options(words);
  }

  // ---- options of the file

  void take_options(const std::vector<std::string>& words) {
    for (std::size_t i = 0; i < words.size(); ++i) take_option(parse_option(words, i));
  }

  // Moves `i` to the option's last word.
  static GivenOption parse_option(const std::vector<std::string>& words, std::size_t& i) {
    const std::string& word = words[i];
    for (const FileOption& option : kFileOptions) {
      if (!word.starts_with(option.spelling)) continue;
      const std::string rest = word.substr(option.spelling.size());
      const bool is_long = option.spelling.starts_with("--");
      if (is_long && !rest.empty() && rest.front() != '=') continue;  // --index-url-x
      if (!option.has_value) {
        if (!rest.empty()) fail("'" + std::string(option.name) + "' takes no value");
        return {.name = std::string(option.name), .value = {}};
      }
      const std::string name(option.name);
      if (!rest.empty()) return {.name = name, .value = is_long ? rest.substr(1) : rest};  // -rFILE
      if (++i == words.size()) fail("'" + std::string(option.spelling) + "' wants a value");
      return {.name = name, .value = words[i]};
    }
    fail_unknown(word);
  }

  [[noreturn]] static void fail_unknown(const std::string& word) {
    const std::string name = word.substr(0, word.find('='));
    if (!name.starts_with("-"))
      fail("'" + name + "' is not understood after an option", "one option or requirement a line");
    if (name == "--hash") fail("'--hash' belongs behind the requirement it is of, on the same line");
    std::array<std::string_view, kFileOptions.size()> known{};
    std::transform(kFileOptions.begin(), kFileOptions.end(), known.begin(),
                   [](const auto& option) { return option.spelling; });
    const auto near = nearest(name, known);
    fail("unknown option '" + name + "'", near.empty()
                                              ? "options of pip's command line do not belong into a requirements file"
                                              : "did you mean " + std::string(near) + "?");
  }

  void take_option(const GivenOption& option) {
    if (option.name == "--editable")
      fail("'-e " + option.value + "' installs a directory that may change behind the environment's back",
           kHintDirectory);
    if (option.name == "--requirement" || option.name == "--constraint") return include(option);
    if (option.name == "--index-url") return take_index(option);
    if (option.name == "--extra-index-url")
      return has_option("--no-index") ? void() : add_option(option.name, stripped(option.value));
    if (option.name == "--no-index") {
      drop_options({"--index-url", "--extra-index-url"});
      return add_option(option.name, {});
    }
    if (option.name == "--find-links") return add_option(option.name, find_links(option.value));
    if (option.name == "--no-binary" || option.name == "--only-binary")
      return add_option(option.name, package_list(option.value));
    add_option(option.name, option.value);
  }

  void include(const GivenOption& option) {
    if (has_scheme(option.value))
      fail("'" + option.value + "': a file behind a URL may change at any time", "download it and name the copy");
    const bool constraints = as_constraints_ || option.name == "--constraint";
    const fs::path file = (directory_ / option.value).lexically_normal();
    const auto here = std::make_tuple(place_, directory_, as_constraints_);
    std::error_code ignored;
    if (!fs::exists(file, ignored))
      throw Error(ErrorCode::kNotFound, file.string() + ": no such file",
                  "-r and -c are relative to the file they stand in");
    read_file(file, constraints);
    std::tie(place_, directory_, as_constraints_) = here;
  }

  // A later index replaces all earlier ones (pip's handle_option_line).
  void take_index(const GivenOption& option) {
    if (has_option("--no-index")) return;
    drop_options({"--index-url", "--extra-index-url"});
    add_option(option.name, stripped(option.value));
  }

  bool has_option(std::string_view name) const {
    return std::any_of(options().begin(), options().end(),
                       [&](const std::string& option) { return option.substr(0, option.find('=')) == name; });
  }
  void drop_options(const std::vector<std::string_view>& names) {
    auto& all = found_.specification.pip_options;
    const auto drop = [&](const std::string& option) {
      return std::find(names.begin(), names.end(), std::string_view(option).substr(0, option.find('='))) != names.end();
    };
    all.erase(std::remove_if(all.begin(), all.end(), drop), all.end());
  }
  void add_option(const std::string& name, const std::string& value) {
    const std::string option = value.empty() ? name : name + "=" + value;
    if (std::find(options().begin(), options().end(), option) == options().end())
      found_.specification.pip_options.push_back(option);
  }
  const std::vector<std::string>& options() const { return found_.specification.pip_options; }

  std::string find_links(const std::string& value) {
    if (has_scheme(value)) return stripped(value);
    const fs::path place = (directory_ / value).lexically_normal();
    std::error_code ignored;
    if (value.find("${") == std::string::npos && !fs::exists(place, ignored))
      found_.warnings.push_back(place_ + ": --find-links " + place.string() + " does not exist");
    return value.starts_with("${") ? value : place.string();
  }

  static std::string package_list(const std::string& value) {
    std::string list;
    for (std::size_t begin = 0; begin <= value.size();) {
      const auto end = std::min(value.find(',', begin), value.size());
      const std::string name = trimmed(std::string_view(value).substr(begin, end - begin));
      if (!name.empty()) list += (list.empty() ? "" : ",") + (name.front() == ':' ? name : normalised_name(name));
      begin = end + 1;
    }
    return list;
  }

  // ---- requirements

  void take_requirement(const std::string& requirement, const std::vector<std::string>& words) {
    const auto hashes = requirement_hashes(words);
    std::string canonical = canonical_requirement(requirement);
    for (const std::string& hash : hashes) canonical += " --hash=" + hash;
    auto& list = as_constraints_ ? found_.specification.constraints : found_.specification.pip;
    list.push_back(std::move(canonical));
  }

  static std::vector<std::string> requirement_hashes(const std::vector<std::string>& words) {
    std::vector<std::string> hashes;
    for (std::size_t i = 0; i < words.size(); ++i) {
      std::string value;
      if (words[i].starts_with("--hash=")) {
        value = words[i].substr(std::string_view("--hash=").size());
      } else if (words[i] == "--hash" && i + 1 < words.size()) {
        value = words[++i];
      } else if (words[i].starts_with("--global-option") || words[i].starts_with("--config-settings")) {
        fail("'" + words[i] + "': options of a package's build are not supported",
             "build the wheel yourself and name it");
      } else {
        fail("'" + words[i] + "' after a requirement",
             "only --hash=sha256:… stands behind a requirement; options have lines of their own");
      }
      hashes.push_back(checked_hash(value));
    }
    std::sort(hashes.begin(), hashes.end());
    hashes.erase(std::unique(hashes.begin(), hashes.end()), hashes.end());
    return hashes;
  }

  static std::string checked_hash(std::string hash) {
    std::transform(hash.begin(), hash.end(), hash.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    constexpr std::array<std::pair<std::string_view, std::size_t>, 3> kAlgorithms{
        {{"sha256:", 64}, {"sha384:", 96}, {"sha512:", 128}}};
    for (const auto& [prefix, digits] : kAlgorithms)
      if (hash.starts_with(prefix) && hash.size() == prefix.size() + digits &&
          is_hexadecimal(std::string_view(hash).substr(prefix.size())))
        return hash;
    fail("'--hash=" + hash + "' is no hash",
         "--hash=sha256: and 64 hexadecimal digits; sha384 and sha512 are known, too");
  }

  std::string canonical_requirement(const std::string& text) {
    if (has_scheme(text)) return bare_url(text);
    if (is_path(text)) return local_requirement(text);
    const std::string canonical = normalised_requirement(text);
    const auto at = canonical.find(" @ ");
    if (at == std::string::npos) return canonical;
    const auto url_begin = at + 3;
    const auto url_end = canonical.find(' ', url_begin);
    const std::string marker = url_end == std::string::npos ? "" : canonical.substr(url_end);
    return canonical.substr(0, url_begin) + checked_url(canonical.substr(url_begin, url_end - url_begin)) + marker;
  }

  static bool is_path(std::string_view text) {
    const auto head = text.substr(0, text.find_first_of(";[@"));
    return head.starts_with('.') || head.find('/') != std::string_view::npos || is_archive(trimmed(head));
  }

  // Without its credentials; a local file counts with its content.
  std::string checked_url(const std::string& url) {
    if (url.starts_with("file:") && url.find("${") == std::string::npos) {
      const auto path = path_of_file_url(url);
      if (!path) fail("'" + url + "' has no absolute path", "file:///DIRECTORY/FILE");
      add_local_file(*path);
    }
    return stripped(url);
  }

  std::string bare_url(const std::string& text) {
    const auto url_end = text.find_first_of(" \t");
    const std::string url = checked_url(text.substr(0, url_end));
    std::string name = egg_of(url);
    if (name.empty()) {
      const auto artefact = artefact_name(file_name_of(url));
      if (artefact) name = artefact->name;
    }
    const std::string rest = url_end == std::string::npos ? "" : trimmed(std::string_view(text).substr(url_end));
    if (!rest.empty() && rest.front() != ';') fail("'" + rest + "' after a URL is not understood");
    if (!name.empty()) return normalised_requirement(name + " @ " + url + (rest.empty() ? "" : " " + rest));
    return rest.empty() ? url : url + " " + rest;
  }

  // git+https://host/project#egg=NAME[EXTRAS]
  static std::string egg_of(const std::string& url) {
    const auto fragment = url.find('#');
    if (fragment == std::string::npos) return {};
    const auto egg = url.find("egg=", fragment);
    if (egg == std::string::npos) return {};
    return url.substr(egg + 4, url.find('&', egg) - egg - 4);
  }

  // PATH[EXTRAS] ; MARKER
  std::string local_requirement(const std::string& text) {
    const auto semicolon = text.find(';');
    const std::string marker =
        semicolon == std::string::npos ? "" : " ; " + trimmed(std::string_view(text).substr(semicolon + 1));
    std::string path = trimmed(std::string_view(text).substr(0, semicolon));
    std::string extras;
    if (const auto bracket = path.find('['); bracket != std::string::npos && path.ends_with(']')) {
      extras = path.substr(bracket);
      path.resize(bracket);
    }
    const fs::path file = (directory_ / path).lexically_normal();
    add_local_file(file);
    const std::string url = file_url(file.string());
    const auto artefact = artefact_name(file.filename().string());
    if (!artefact) return url + marker;
    return normalised_requirement(artefact->name + extras + " @ " + url + marker);
  }

  void add_local_file(const fs::path& file) {
    std::error_code ignored;
    const auto status = fs::status(file, ignored);
    if (fs::is_directory(status))
      fail("'" + file.string() + "' is a directory, which may change behind the environment's back", kHintDirectory);
    if (!fs::exists(status))
      throw Error(ErrorCode::kNotFound, "'" + file.string() + "': no such file",
                  "a local wheel or archive is relative to the file that names it");
    if (!fs::is_regular_file(status) || !is_archive(file.filename().string()))
      fail("'" + file.string() + "' is neither a wheel nor a source archive");
    found_.specification.files[file.string()] = digest_of_file(file).hex();
  }

  std::string stripped(const std::string& url) {
    auto result = without_credentials(url);
    if (result.had_credentials) found_.credentials.emplace(result.url, url);
    return result.url;
  }

  ReadSpecification found_;
  std::vector<fs::path> open_;  // the files that are being read: a file, what it includes, …
  // Of the present line.
  std::string place_;
  fs::path directory_;
  bool as_constraints_ = false;
  bool placed_ = false;  // the error under way has its place
};

}  // namespace

ReadSpecification read_requirements(const fs::path& file) {
  RequirementsReader reader;
  reader.read_file(file, false);
  return reader.take();
}

ReadSpecification parse_requirements(std::string_view text, const std::string& label, const fs::path& directory,
                                     int first_line) {
  RequirementsReader reader;
  reader.read_text(text, label, directory, first_line, false);
  return reader.take();
}

ReadSpecification read_pip_file(const fs::path& file) {
  return file.extension() == ".toml" ? read_pyproject(file) : read_requirements(file);
}

}  // namespace runner::envs
