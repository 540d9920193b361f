// The prefix's own pip. `pip install --report` says of everything it installed where it was and what its hash is.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "envs/artefact_name.hpp"
#include "envs/pip_files.hpp"
#include "envs/python_version.hpp"
#include "envs/site_packages.hpp"
#include "envs/specification_files.hpp"
#include "envs/wheel_store.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kKeptLines = 400;

// The first pip that writes a report.
bool writes_reports(const std::string& version) { return python_satisfies(version, ">=22.2"); }

std::string hash_of(const json& archive) {
  if (const auto hashes = archive.find("hashes"); hashes != archive.end() && hashes->contains("sha256"))
    return "sha256:" + hashes->at("sha256").get<std::string>();
  std::string hash = archive.value("hash", "");  // before pip 23
  if (const auto equals = hash.find('='); equals != std::string::npos) hash[equals] = ':';
  return hash;
}

LockedPackage package_from(const json& item) {
  LockedPackage package{.manager = "pip",
                        .name = normalised_name(item.at("metadata").at("name").get<std::string>()),
                        .version = item.at("metadata").at("version").get<std::string>()};
  const json& download = item.at("download_info");
  package.url = download.at("url").get<std::string>();
  const std::string subdirectory = download.value("subdirectory", "");
  if (const auto vcs = download.find("vcs_info"); vcs != download.end()) {
    package.url = vcs->at("vcs").get<std::string>() + "+" + package.url + "@" + vcs->value("commit_id", "");
    if (!subdirectory.empty()) package.url += "#subdirectory=" + subdirectory;
  } else if (const auto archive = download.find("archive_info"); archive != download.end()) {
    package.hash = hash_of(*archive);
    const auto name = artefact_name(file_name_of(package.url));
    package.build = name ? name->tags : "";
  }
  package.url = without_credentials(package.url).url;
  return package;
}

// A user's pip.conf may send packages elsewhere. An empty value in the prefix's own pip.conf takes such a setting back;
// what PIP_CONFIG_FILE says counts more, and is found out afterwards.
class PlainPip {
 public:
  explicit PlainPip(const fs::path& prefix) : file_(prefix / "pip.conf") {
    std::error_code ignored;
    ours_ = !fs::exists(file_, ignored);
    if (!ours_) return;
    std::string text;
    for (const char* section : {"global", "install"}) {
      text += std::string("[") + section + "]\n";
      for (const char* name : {"target", "prefix", "root", "user", "dry-run"}) text += std::string(name) + " =\n";
    }
    os::publish_file(file_, text, os::Durability::kAtomic, 0644);
  }
  ~PlainPip() {
    std::error_code ignored;
    if (ours_) fs::remove(file_, ignored);
  }
  PlainPip(const PlainPip&) = delete;
  PlainPip& operator=(const PlainPip&) = delete;

 private:
  const fs::path file_;
  bool ours_ = false;
};

class PipInstaller {
 public:
  PipInstaller(const PipInstall& part, BuildConsole& console)
      : part_(part), console_(console), variables_(pip_variables(part.settings, console.scratch())) {}

  PipResult install() {
    const bool reports = make_pip_report();
    console_.step("installing " + counted(part_.specification.pip.size(), "requirement") + " (pip)");
    const auto before =
        reports ? std::map<std::string, InstalledDistribution>() : installed_distributions(part_.prefix);
    const fs::path report = console_.scratch() / "report.json";
    std::vector<std::string> arguments = input_arguments();
    if (reports) arguments.insert(arguments.end(), {"--report", report.string()});
    const Tool tool = install_tool(arguments);
    if (const int status = run(tool); status != 0)
      throw no_network_ ? without_network(said_, console_.failure(tool.name, status))
                        : console_.failure(tool.name, status);
    if (reports)
      read_report(report);
    else
      read_site_packages(before);
    return std::move(result_);
  }

  // pip has no cache of what an index says, so that without a network only our copies count.
  PipResult install_locked(const std::vector<LockedPackage>& wanted) {
    const std::size_t copies = link_copies(wanted);
    bool done = false;
    if (copies == wanted.size()) {
      console_.step("installing " + counted(copies, "package") + " from the copies here (pip)");
      done = run(install_tool(locked_arguments(wanted, true, true))) == 0;
    }
    if (!done) {
      console_.step("installing " + counted(wanted.size(), "package") + " with the network, " + std::to_string(copies) +
                    " from the copies here (pip)");
      for (const bool hashed : {true, false}) install_some(wanted, hashed);
    }
    result_.packages = wanted;
    return std::move(result_);
  }

 private:
  Tool tool(const std::string& command, const std::vector<std::string>& more) const {
    Tool tool{.name = "pip",
              .arguments = {(part_.prefix / "bin" / "python").string(), "-m", "pip", command},
              .variables = variables_,
              .directory = {}};
    tool.arguments.insert(tool.arguments.end(), more.begin(), more.end());
    return tool;
  }
  Tool install_tool(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"--progress-bar", "off", "--no-warn-script-location"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return tool("install", arguments);
  }

  // Whether the prefix's pip writes reports; one that came with an old Python is replaced in the prefix if that works.
  bool make_pip_report() {
    const auto installed = installed_distributions(part_.prefix);
    const auto pip = installed.find("pip");
    if (pip == installed.end())
      throw Error(ErrorCode::kInvalid, part_.prefix.string() + ": has no pip",
                  "add pip to the packages, or install uv");
    if (writes_reports(pip->second.version)) return true;
    console_.step("updating pip " + pip->second.version + ", which cannot say what it installs");
    if (!part_.shared && run(install_tool({"--upgrade", "pip"})) == 0) return true;
    result_.warnings.push_back("pip " + pip->second.version +
                               " does not say where packages come from: the lock has no URLs and no hashes");
    return false;
  }

  std::vector<std::string> options() const {
    std::vector<std::string> lines;
    for (const std::string& text : part_.specification.pip_options) {
      if (text.starts_with(kRequiresPython)) continue;
      const auto [name, value] = pip_option(text);
      lines.push_back(value.empty() ? name : name + "=" + url_with_credentials(value, part_.settings));
    }
    return lines;
  }

  std::vector<std::string> input_arguments() const {
    std::vector<std::string> lines = options();
    for (const std::string& one : part_.specification.pip) lines.push_back(requirement_line(one, part_.settings));
    std::vector<std::string> arguments{"--requirement",
                                       write_lines(console_.scratch(), "requirements.txt", lines).string()};
    if (!part_.specification.constraints.empty()) {
      std::vector<std::string> constraints;
      for (const std::string& one : part_.specification.constraints)
        constraints.push_back(requirement_line(one, part_.settings));
      arguments.insert(arguments.end(),
                       {"--constraint", write_lines(console_.scratch(), "constraints.txt", constraints).string()});
    }
    return arguments;
  }

  int run(const Tool& tool) {
    said_.clear();
    no_network_ = false;
    std::size_t downloads = 0;
    return run_tool(part_, console_, tool, [&](std::string_view line) {
      no_network_ = no_network_ || says_no_network(line);
      if (said_.size() < kKeptLines) said_.emplace_back(line);
      tell(line, downloads);
    });
  }

  // pip's lines as progress. It does not know how many packages there will be until it has resolved all.
  void tell(std::string_view line, std::size_t& downloads) {
    const auto begin = line.find_first_not_of(' ');
    if (begin == std::string_view::npos) return;
    const std::string_view words = line.substr(begin);
    const auto rest = [&](std::string_view verb) {
      return std::string(words.substr(std::min(verb.size(), words.size())));
    };
    if (words.starts_with("Collecting ")) console_.progress("resolving " + rest("Collecting "));
    if (words.starts_with("Downloading "))
      console_.progress("downloading " + file_words(rest("Downloading ")) + ", file " + std::to_string(++downloads));
    if (words.starts_with("Building wheel for ")) console_.progress("building " + rest("Building wheel for "));
    if (words.starts_with("Installing collected packages: ")) {
      const auto count = 1 + std::count(words.begin(), words.end(), ',');
      console_.progress("installing " + std::to_string(count) + " packages");
    }
  }
  // "https://host/a/b.whl (1.2 MB)" → "b.whl (1.2 MB)".
  static std::string file_words(const std::string& words) {
    const auto blank = std::min(words.find(' '), words.size());
    const auto slash = words.rfind('/', blank);
    return slash == std::string::npos ? words : words.substr(slash + 1);
  }

  void read_report(const fs::path& file) {
    try {
      const json report = json::parse(os::read_file(file));
      for (const json& item : report.at("install")) result_.packages.push_back(package_from(item));
    } catch (const json::exception& error) {
      throw Error(ErrorCode::kInternal, std::string("pip's report makes no sense: ") + error.what());
    }
    sort_packages();
  }

  void read_site_packages(const std::map<std::string, InstalledDistribution>& before) {
    for (const auto& [name, distribution] : installed_distributions(part_.prefix)) {
      const auto old = before.find(name);
      if (old == before.end() || old->second.version != distribution.version)
        result_.packages.push_back({.manager = "pip", .name = name, .version = distribution.version});
    }
    sort_packages();
  }
  void sort_packages() {
    std::sort(result_.packages.begin(), result_.packages.end(),
              [](const auto& one, const auto& other) { return one.name < other.name; });
  }

  // ---- from a lock

  fs::path copies_directory() const { return console_.scratch() / "wheels"; }

  std::size_t link_copies(const std::vector<LockedPackage>& wanted) {
    const WheelStore store(part_.settings.wheels);
    os::make_directories(copies_directory());
    for (const LockedPackage& package : wanted) {
      const auto copy = store.find(package.hash);
      if (!copy) continue;
      fs::create_symlink(copy->file, copies_directory() / copy->file.filename());
      copies_[package.name] = copy->hash;
    }
    return copies_.size();
  }

  // pip wants a hash of every requirement or of none.
  void install_some(const std::vector<LockedPackage>& wanted, bool hashed) {
    const auto arguments = locked_arguments(wanted, hashed, false);
    if (arguments.empty()) return;
    const Tool tool = install_tool(arguments);
    if (const int status = run(tool); status != 0)
      throw missing_artefact(wanted, said_, console_.failure(tool.name, status));
  }

  std::vector<std::string> locked_arguments(const std::vector<LockedPackage>& wanted, bool hashed, bool offline) const {
    std::vector<std::string> lines;
    if (!offline) {
      lines = options();
      lines.erase(std::remove(lines.begin(), lines.end(), "--require-hashes"), lines.end());
    }
    const auto head = lines.size();
    for (const LockedPackage& package : wanted)
      if (has_hash(package) == hashed) lines.push_back(locked_line(package));
    if (lines.size() == head) return {};
    std::vector<std::string> arguments{"--no-deps", "--find-links", copies_directory().string(), "--requirement",
                                       write_lines(console_.scratch(), "locked.txt", lines).string()};
    if (offline) arguments.push_back("--no-index");
    return arguments;
  }

  bool has_hash(const LockedPackage& package) const { return copies_.contains(package.name) || !package.hash.empty(); }

  std::string locked_line(const LockedPackage& package) const {
    const auto copy = copies_.find(package.name);
    if (copy != copies_.end()) return package.name + "==" + package.version + " --hash=" + copy->second;
    return locked_requirement(package, part_.specification, part_.settings) +
           (package.hash.empty() ? "" : " --hash=" + package.hash);
  }

  const PipInstall& part_;
  BuildConsole& console_;
  const std::map<std::string, std::string> variables_;
  std::map<std::string, std::string> copies_;  // name → hash of our copy
  std::vector<std::string> said_;              // of the last call
  bool no_network_ = false;                    // it could not reach something
  PipResult result_;
};

}  // namespace

PipResult install_with_pip(const PipInstall& part, const std::vector<LockedPackage>* wanted, BuildConsole& console) {
  const PlainPip plain(part.prefix);
  PipInstaller installer(part, console);
  return wanted != nullptr ? installer.install_locked(*wanted) : installer.install();
}

}  // namespace runner::envs
