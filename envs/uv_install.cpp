// uv, as one would call it by hand: `uv pip install`. It says only names and versions of what it installs, so that its
// cache is asked afterwards (`uv pip compile --offline` into a pylock.toml) where the files came from and what their
// hashes are. The other way round, resolving first and installing the pylock.toml, asks many an index for every file
// again.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>

#include "envs/artefact_name.hpp"
#include "envs/pip_files.hpp"
#include "envs/pylock.hpp"
#include "envs/python_version.hpp"
#include "envs/site_packages.hpp"
#include "envs/specification_files.hpp"
#include "envs/wheel_store.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeptLines = 400;

// "git+https://host/project@commit#subdirectory=x", as a lock keeps it.
std::string repository_url(const PylockPackage& package) {
  return package.repository + "@" + package.commit +
         (package.subdirectory.empty() ? "" : "#subdirectory=" + package.subdirectory);
}

class UvInstaller {
 public:
  UvInstaller(const fs::path& uv, const PipInstall& part, BuildConsole& console)
      : uv_(uv), part_(part), console_(console), variables_(pip_variables(part.settings, console.scratch())) {
    translate_options();
  }

  PipResult install() {
    console_.step("installing " + counted(part_.specification.pip.size(), "requirement") + " (uv)");
    std::vector<std::string> arguments{"--requirements"};
    append(arguments, input_arguments(part_.specification.pip));
    append(arguments, build_arguments());
    if (require_hashes_) arguments.push_back("--require-hashes");
    std::vector<std::string> said;
    Tool tool = uv_pip("install", arguments);
    if (const int status = run(tool, &said); status != 0) {
      const Error error = console_.failure(tool.name, status);
      if (!no_network_) throw error;
      console_.write("no network: trying with what is in the caches\n");
      tool.arguments.push_back("--offline");
      const std::vector<std::string> before = std::exchange(said, {});
      // What is missing offline is a consequence; what the network said is the cause.
      if (run(tool, &said) != 0) throw without_network(before, error);
    }
    write_down(said);
    return std::move(result_);
  }

  // A directory full of links into uv's cache, which nobody uses.
  const LockedPackage* missing_offline(const std::vector<LockedPackage>& packages) {
    const fs::path trial = console_.scratch() / "trial";
    Tool tool = install_tool(pylock_of(packages), true);
    tool.arguments.push_back("--target=" + trial.string());
    std::vector<std::string> said;
    const int status = run(tool, &said);
    os::remove_tree(trial);
    return status == 0 ? nullptr : mentioned(packages, said);
  }

  PipResult install_locked(const std::vector<LockedPackage>& wanted) {
    const std::vector<PylockPackage> packages = pylock_of(wanted);
    start_install(packages.size(), " from the caches");
    std::vector<std::string> said;
    if (run(install_tool(packages, true), &said) != 0) {
      start_install(packages.size(), " with the network");
      said.clear();
      const Tool tool = install_tool(packages, false);
      if (const int status = run(tool, &said); status != 0)
        throw missing_artefact(wanted, said, console_.failure(tool.name, status));
    }
    result_.packages = wanted;
    return std::move(result_);
  }

 private:
  // ---- options

  // What goes into the file for both, what is an argument for uv, and what uv does not have.
  void translate_options() {
    std::vector<std::string> extra;
    for (const std::string& text : part_.specification.pip_options) {
      if (text.starts_with(kRequiresPython)) continue;
      const auto [name, value] = pip_option(text);
      const std::string url = expanded(url_with_credentials(value, part_.settings), part_.settings.variables);
      if (name == "--pre") {
        arguments_.push_back("--prerelease=allow");
      } else if (name == "--trusted-host") {
        arguments_.push_back("--allow-insecure-host=" + value);
      } else if (name == "--require-hashes") {
        require_hashes_ = true;
      } else if (name == "--prefer-binary") {
        result_.warnings.push_back("uv has no " + name + "; it was left out");
      } else {
        if (name == "--index-url") variables_["UV_DEFAULT_INDEX"] = url;
        if (name == "--extra-index-url") extra.push_back(url);
        if (name == "--no-binary" || name == "--only-binary") builds_.push_back(text);
        file_options_.push_back(value.empty() ? name : name + "=" + url_with_credentials(value, part_.settings));
      }
    }
    if (!extra.empty() || variables_.contains("UV_DEFAULT_INDEX")) {
      std::string& all = variables_["UV_INDEX"];
      for (const std::string& url : extra) all += (all.empty() ? "" : " ") + url;
      if (all.empty()) variables_.erase("UV_INDEX");
    }
  }

  // pip takes the comma-separated list, uv one package an option.
  std::vector<std::string> build_arguments() const {
    std::vector<std::string> arguments;
    for (const std::string& text : builds_) {
      const auto [name, value] = pip_option(text);
      for (std::size_t begin = 0; begin <= value.size();) {
        const auto end = std::min(value.find(',', begin), value.size());
        arguments.push_back(name + "=" + value.substr(begin, end - begin));
        begin = end + 1;
      }
    }
    return arguments;
  }

  Tool uv_pip(const std::string& command, const std::vector<std::string>& more) const {
    Tool tool{.name = "uv",
              .arguments = {uv_.string(), "pip", command, "--python", (part_.prefix / "bin" / "python").string()},
              .variables = variables_,
              .directory = console_.scratch()};
    tool.arguments.insert(tool.arguments.end(), arguments_.begin(), arguments_.end());
    tool.arguments.insert(tool.arguments.end(), more.begin(), more.end());
    return tool;
  }

  std::vector<std::string> input_arguments(const std::vector<std::string>& requirements) const {
    std::vector<std::string> lines = file_options_;
    for (const std::string& requirement : requirements) lines.push_back(requirement_line(requirement, part_.settings));
    std::vector<std::string> arguments{write_lines(console_.scratch(), "requirements.txt", lines).string()};
    if (!part_.specification.constraints.empty()) {
      std::vector<std::string> constraints;
      for (const std::string& one : part_.specification.constraints)
        constraints.push_back(requirement_line(one, part_.settings));
      arguments.push_back("--constraint=" + write_lines(console_.scratch(), "constraints.txt", constraints).string());
    }
    return arguments;
  }

  static void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
  }

  // ---- what was installed

  // " + name==version", " + name==version (from URL)"; '~' for what was there in that version, but from elsewhere.
  void write_down(const std::vector<std::string>& said) {
    std::vector<std::string> pins;
    std::vector<PylockPackage> packages;
    for (const std::string& line : said) {
      if (!line.starts_with(" + ") && !line.starts_with(" ~ ")) continue;
      const std::string planned = without_version_of_url(line.substr(3));
      if (auto repository = repository_of(planned))
        packages.push_back(std::move(*repository));
      else
        pins.push_back(pin_of(planned));
    }
    append_resolved(packages, pins);
    add_installed(packages);
  }

  // "name==version (from URL)" → "name @ URL".
  static std::string without_version_of_url(const std::string& installed) {
    constexpr std::string_view kFrom = " (from ";
    const auto from = installed.find(kFrom);
    if (from == std::string::npos || !installed.ends_with(')')) return installed;
    const auto begin = from + kFrom.size();
    return name_of_requirement(installed) + " @ " + installed.substr(begin, installed.size() - 1 - begin);
  }

  // "name @ git+https://host/project@COMMIT#subdirectory=x": uv has put the commit in.
  static std::optional<PylockPackage> repository_of(const std::string& planned) {
    std::string url = url_of_requirement(planned);
    if (url.find('+') >= url.find("://")) return std::nullopt;
    PylockPackage package{.name = name_of_requirement(planned)};
    constexpr std::string_view kSubdirectory = "subdirectory=";
    const auto hash = std::min(url.find('#'), url.size());
    if (const auto at = url.find(kSubdirectory, hash); at != std::string::npos)
      package.subdirectory = url.substr(at + kSubdirectory.size(), url.find('&', at) - at - kSubdirectory.size());
    url.resize(hash);
    const auto at = url.rfind('@');
    if (at == std::string::npos || at < url.find('/', url.find("://") + 3)) return std::nullopt;
    package.repository = url.substr(0, at);
    package.commit = url.substr(at + 1);
    return package;
  }

  // A URL as it was asked for: uv shows it without its credentials.
  std::string pin_of(const std::string& planned) const {
    const std::string name = name_of_requirement(planned);
    const auto& asked = part_.specification.pip;
    const auto same = std::find_if(asked.begin(), asked.end(), [&](const std::string& one) {
      return !url_of_requirement(one).empty() && name_of_requirement(one) == name;
    });
    return planned.find(" @ ") != std::string::npos && same != asked.end() ? *same : planned;
  }

  // From the cache; where the index forbids caching, from the index.
  void append_resolved(std::vector<PylockPackage>& packages, const std::vector<std::string>& pins) {
    if (pins.empty()) return;
    for (const bool offline : {true, false}) {
      std::vector<std::string> arguments{"--format=pylock.toml", "--no-header", "--no-deps"};
      if (offline) arguments.push_back("--offline");
      append(arguments, build_arguments());
      append(arguments, input_arguments(pins));
      std::string pylock;
      if (console_.capture(uv_pip("compile", arguments), pylock) != 0) continue;
      for (PylockPackage& package : read_pylock(pylock, console_.scratch().string()))
        packages.push_back(std::move(package));
      return;
    }
    result_.warnings.push_back("uv could not say where packages came from: the lock has no URLs and no hashes");
    for (const std::string& pin : pins) {
      const auto equals = pin.find("==");
      packages.push_back(
          {.name = name_of_requirement(pin), .version = equals == std::string::npos ? "" : pin.substr(equals + 2)});
    }
  }

  // ---- installing

  void start_install(std::size_t count, const std::string& how) {
    installed_ = 0;
    count_ = count;
    console_.step("installing " + counted(count, "package") + how + " (uv)");
  }

  Tool install_tool(const std::vector<PylockPackage>& packages, bool offline) {
    const fs::path file = console_.scratch() / "pylock.toml";
    os::publish_file(file, write_pylock(packages), os::Durability::kAtomic, 0600);
    std::vector<std::string> arguments;
    if (offline) arguments.push_back("--offline");
    append(arguments, {"--requirements", file.string()});
    return uv_pip("install", arguments);
  }

  // uv tells of a download when it begins and ends, and lists what it installed at the end.
  int run(const Tool& tool, std::vector<std::string>* said) {
    no_network_ = false;
    return console_.run(tool, [&](std::string_view line) {
      no_network_ = no_network_ || says_no_network(line);
      if (said->size() < kKeptLines || line.starts_with(" + ") || line.starts_with(" ~ ")) said->emplace_back(line);
      const auto begin = line.find_first_not_of(' ');
      if (begin == std::string_view::npos) return;
      const std::string_view words = line.substr(begin);
      for (const std::string_view verb : {"Downloading", "Downloaded", "Building", "Built"})
        if (words.starts_with(verb))
          console_.progress(static_cast<char>(verb.front() + ('a' - 'A')) + std::string(words.substr(1)));
      if (words.starts_with("Resolved ") && count_ == 0)
        count_ = static_cast<std::size_t>(std::strtoul(std::string(words.substr(9)).c_str(), nullptr, 10));
      if (line.starts_with(" + ") && count_ > 0)
        console_.progress(std::string(line.substr(3)) + " (" + std::to_string(++installed_) + " of " +
                          std::to_string(count_) + ")");
    });
  }

  void add_installed(const std::vector<PylockPackage>& packages) {
    const auto installed = installed_distributions(part_.prefix);
    for (const PylockPackage& package : packages) {
      const auto found = installed.find(package.name);
      LockedPackage locked{.manager = "pip", .name = package.name, .version = package.version};
      if (found == installed.end()) {  // install_pip complains
        result_.packages.push_back(std::move(locked));
        continue;
      }
      if (locked.version.empty()) locked.version = found->second.version;
      if (!package.repository.empty()) {
        locked.url = without_credentials(repository_url(package)).url;
      } else if (const auto* file = file_installed(package, wheel_tags(found->second))) {
        const auto name = artefact_name(file_name_of(file->url));
        locked.build = name ? name->tags : "";
        locked.url = without_credentials(file->url).url;
        locked.hash = file->hash;
      }
      result_.packages.push_back(std::move(locked));
    }
    std::sort(result_.packages.begin(), result_.packages.end(),
              [](const auto& one, const auto& other) { return one.name < other.name; });
  }

  // Of several wheels that would do, the one whose tags the installed package has.
  static const PylockArtefact* file_installed(const PylockPackage& package, const std::set<std::string>& tags) {
    if (package.archive) return &*package.archive;
    for (const PylockArtefact& wheel : package.wheels) {
      const auto name = artefact_name(file_name_of(wheel.url));
      if (name && expanded_tags(name->tags) == tags) return &wheel;
    }
    if (package.wheels.size() == 1 && !package.source) return &package.wheels.front();
    return package.source ? &*package.source : nullptr;
  }

  // ---- from a lock

  std::vector<PylockPackage> pylock_of(const std::vector<LockedPackage>& wanted) const {
    const WheelStore store(part_.settings.wheels);
    std::vector<PylockPackage> packages;
    for (const LockedPackage& locked : wanted) packages.push_back(pylock_package(locked, store));
    return packages;
  }

  PylockPackage pylock_package(const LockedPackage& locked, const WheelStore& store) const {
    PylockPackage package{.name = locked.name, .version = locked.version};
    if (locked.url.find('+') < locked.url.find("://")) {
      const std::string url = locked.url.substr(0, locked.url.find('#'));
      const auto at = url.rfind('@');
      package.repository = url.substr(0, at);
      package.commit = at == std::string::npos ? "" : url.substr(at + 1);
      const auto subdirectory = locked.url.find("#subdirectory=");
      if (subdirectory != std::string::npos) package.subdirectory = locked.url.substr(subdirectory + 14);
      return package;
    }
    if (locked.url.empty())
      throw Error(ErrorCode::kUnavailable,
                  locked.name + " " + locked.version + ": the lock does not know where it came from",
                  "resolve anew with --rebuild");
    const std::string asked = asked_url(locked.url, part_.specification, part_.settings);
    PylockArtefact file{.url = asked.empty() ? locked.url : asked.substr(0, asked.find('#')), .hash = locked.hash};
    if (const auto copy = store.find(locked.hash)) file = {.url = file_url(copy->file.string()), .hash = copy->hash};
    if (!asked.empty()) {
      package.archive = std::move(file);
    } else if (file_name_of(file.url).ends_with(".whl")) {
      package.wheels.push_back(std::move(file));
    } else {
      package.source = std::move(file);
    }
    return package;
  }

  const fs::path& uv_;
  const PipInstall& part_;
  BuildConsole& console_;
  std::map<std::string, std::string> variables_;
  std::vector<std::string> arguments_;     // of every call
  std::vector<std::string> builds_;        // --no-binary, --only-binary
  std::vector<std::string> file_options_;  // as they stand in the requirements file
  bool require_hashes_ = false;
  bool no_network_ = false;  // the last call could not reach something
  std::size_t installed_ = 0;
  std::size_t count_ = 0;
  PipResult result_;
};

}  // namespace

const LockedPackage* missing_in_uv(const fs::path& uv, const PipInstall& part,
                                   const std::vector<LockedPackage>& packages, BuildConsole& console) {
  return UvInstaller(uv, part, console).missing_offline(packages);
}

PipResult install_with_uv(const fs::path& uv, const PipInstall& part, const std::vector<LockedPackage>* wanted,
                          BuildConsole& console) {
  UvInstaller installer(uv, part, console);
  return wanted != nullptr ? installer.install_locked(*wanted) : installer.install();
}

}  // namespace runner::envs
