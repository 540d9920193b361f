// Each section of the file is a table from key to what is done with its value; the tables are the documentation.
#include "runner/api/runconfig.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <set>
#include <system_error>

#include "runner/api/image_reference.hpp"
#include "runner/core/error.hpp"
#include "runner/core/time.hpp"

namespace runner::api {
namespace {

namespace fs = std::filesystem;

constexpr std::streamsize kMaxBytes = 1 << 20;  // of a file: real ones have 10 kB

struct Entry {
  std::string path;  // "environment.python.interpreterPath"
  int line = 0;      // from 1
  YAML::Node value;
};
using Take = std::function<void(const Entry&)>;
using Table = std::map<std::string, Take>;

std::string folded(std::string_view text) {  // maxRunDurationSeconds and max_run_duration_seconds alike
  std::string result;
  for (const char c : text)
    if (c != '_' && c != '-') result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool is_nothing(const YAML::Node& node) {
  return !node || node.IsNull() || (node.IsScalar() && node.Scalar().empty()) || (!node.IsScalar() && node.size() == 0);
}

// Nothing at any depth, as in `databricks: {mavenLibraries: [], pypiLibraries: []}`.
bool holds_nothing(const YAML::Node& node, int depth = 0) {
  constexpr int kMaxDepth = 8;  // aliases could make a loop
  if (is_nothing(node)) return true;
  if (!node.IsMap() || depth > kMaxDepth) return false;
  return std::all_of(node.begin(), node.end(),
                     [depth](const auto& item) { return holds_nothing(item.second, depth + 1); });
}

class Reader {
 public:
  Reader(std::string label, fs::path source) : label_(std::move(label)), source_(std::move(source)) {}

  Runconfig read(std::string_view text) {
    YAML::Node root;
    try {
      root = YAML::Load(std::string(text));
    } catch (const YAML::Exception& error) {
      throw Error(ErrorCode::kInvalid, label_ + ":" + std::to_string(error.mark.line + 1) + ":" +
                                           std::to_string(error.mark.column + 1) + ": not YAML: " + error.msg);
    }
    section({.path = "", .line = 1, .value = root}, top_level());
    if (config_.script && config_.command)
      throw Error(ErrorCode::kInvalid, label_ + ": both 'script' and 'command' are given", "keep one of them");
    // What the run says wins over what its environment says.
    config_.environment_variables.merge(environments_variables_);
    if (docker_.on) config_.docker = docker();
    if (!config_.docker && interpreter_path_) config_.interpreter_path = on_this_machine(*interpreter_path_);
    read_conda();
    const bool defined = config_.conda || config_.docker || interpreter_path_ || user_managed_;
    if (defined) config_.environment_name.clear();
    return std::move(config_);
  }

 private:
  // --- the tables
  // -----------------------------------------------------------------------------------------------------
  Table top_level() {
    const std::map<std::string, std::string> pytorch{
        {"communicationBackend", "nccl"}, {"processCount", "null"}, {"nodeCount", "1"}};
    const std::map<std::string, std::string> tensorflow{{"workerCount", "1"}, {"parameterServerCount", "1"}};
    return {
        {"script", [this](const Entry& e) { config_.script = optional_text(e); }},
        {"arguments",
         [this](const Entry& e) {
           if (!e.value.IsNull()) config_.arguments = texts(e);
         }},
        {"command", [this](const Entry& e) { config_.command = command_line(e); }},
        {"maxRunDurationSeconds", [this](const Entry& e) { config_.max_run_duration = seconds(e); }},
        {"environment_variables", [this](const Entry& e) { add_variables(e, config_.environment_variables); }},
        {"environmentVariables", [this](const Entry& e) { add_variables(e, config_.environment_variables); }},
        {"environment", [this](const Entry& e) { section(e, environment()); }},
        {"history", [this](const Entry& e) { section(e, history()); }},
        {"docker", [this](const Entry& e) { section(e, docker_section("useDocker")); }},
        {"target", only({"local"}, "this version runs on this machine: target: local")},
        {"framework", only({"Python"}, "this version runs scripts and commands: framework: Python")},
        {"communicator", only({"None"}, "distributed jobs are not supported yet: communicator: None")},
        {"nodeCount", only({"1"}, "this version runs on one machine: nodeCount: 1")},
        {"mpi", distributed({{"processCountPerNode", "1"}, {"nodeCount", "1"}})},
        {"pytorch", distributed(pytorch)},
        {"pyTorch", distributed(pytorch)},
        {"tensorflow", distributed(tensorflow)},
        {"tensorFlow", distributed(tensorflow)},
        {"data", nothing_in_it("datasets are not supported: name files with --mount SRC:DST")},
        {"dataReferences", nothing_in_it("datastores are not supported: name files with --mount SRC:DST")},
        {"outputData",
         nothing_in_it("datastores are not supported: write to outputs/, or name a directory with --mount SRC:DST:rw")},
        {"sourceDirectoryDataStore", nothing_in_it("datastores are not supported")},
        {"spark", ignored()},       // counts with framework: PySpark
        {"amlcompute", ignored()},  // counts with target: amlcompute
        {"amlCompute", ignored()},
        {"hdi", ignored()},  // counts with an HDInsight target
        {"autoPrepareEnvironment", ignored()},
    };
  }

  Table environment() {
    return {
        {"name", [this](const Entry& e) { config_.environment_name = optional_text(e).value_or(""); }},
        {"version", [this](const Entry& e) { config_.environment_version = optional_text(e).value_or(""); }},
        {"environmentVariables", [this](const Entry& e) { add_variables(e, environments_variables_); }},
        {"environment_variables", [this](const Entry& e) { add_variables(e, environments_variables_); }},
        {"python", [this](const Entry& e) { section(e, python()); }},
        {"docker", [this](const Entry& e) { section(e, docker_section("enabled")); }},
        {"spark", ignored()},
        {"inferencingStackVersion", ignored()},
        {"databricks", nothing_in_it("Databricks libraries are not supported")},
        {"r", nothing_in_it("R environments are not supported")},
    };
  }

  Table python() {
    return {
        {"userManagedDependencies", [this](const Entry& e) { user_managed_ = boolean(e); }},
        {"interpreterPath", [this](const Entry& e) { interpreter_path_ = interpreter(e); }},
        {"condaDependenciesFile", [this](const Entry& e) { remember_conda(conda_file_, e); }},
        {"condaDependencies", [this](const Entry& e) { remember_conda(conda_inline_, e); }},
        {"baseCondaEnvironment", [this](const Entry& e) { remember_conda(conda_base_, e); }},
    };
  }

  // Two generations of one section. What stands beside the switch counts only when that is on, which may be said later
  // or in the other section: it is kept and judged at the end.
  Table docker_section(const char* enable) {
    Table table{{enable, [this](const Entry& e) {
                   if (!e.value.IsNull() && boolean(e) && !docker_.on) docker_.on = e;
                 }}};
    for (const char* key : {"baseImage", "baseDockerfile", "baseImageRegistry", "baseImagePlatform", "shmSize",
                            "arguments", "preparation", "gpuSupport", "platform", "buildContext"})
      table.emplace(key, [this, key](const Entry& e) {
        if (!holds_nothing(e.value)) docker_.settings.insert_or_assign(key, e);
      });
    table.emplace("sharedVolumes", ignored());  // about volumes between Azure's containers
    return table;
  }

  Table registry(std::string& address) {
    const Take credentials = [this](const Entry& e) {
      if (!holds_nothing(e.value))
        throw Error(ErrorCode::kInvalid,
                    at(e.line) + "'" + e.path + "' cannot be honoured here",  // its value stays unsaid
                    "remove it, and give the registry's credentials to docker login");
    };
    return {{"address", [this, &address](const Entry& e) { address = optional_text(e).value_or(""); }},
            {"username", credentials},
            {"password", credentials},
            {"registryIdentity", credentials}};
  }

  Table history() {
    const auto always = [this](const char* why) {
      return [this, why](const Entry& e) {
        if (!e.value.IsNull() && !boolean(e))
          warn(e.line, "'" + e.path + ": " + e.value.Scalar() + "' has no effect: " + why);
      };
    };
    return {{"outputCollection", always("outputs are always collected")},
            {"snapshotProject", always("every run has a snapshot")},
            {"directoriesToWatch", ignored()}};
  }

  // --- Docker, once all is read
  // ---------------------------------------------------------------------------------------
  RunconfigDocker docker() {
    const Table judged{
        {"buildContext", nothing_in_it("the build context is the source directory: name a baseDockerfile in it")},
        {"preparation", nothing_in_it("preparation commands are not supported: put them into the image")},
        {"baseImagePlatform", only({"linux/amd64"}, "an image has the Engine's platform: leave it out")},
        {"platform", [this](const Entry& e) { section(e, platform()); }},
        {"gpuSupport", only({"false"}, "GPUs are not supported yet: gpuSupport: false")},
    };
    for (const auto& [key, entry] : docker_.settings)
      if (const auto judge = judged.find(key); judge != judged.end()) judge->second(entry);

    RunconfigDocker docker{.switch_at = at(docker_.on->line) + "'" + docker_.on->path + ": true'",
                           .image = base_image(),
                           .dockerfile = dockerfile(),
                           .interpreter = interpreter_path_.value_or(""),
                           .arguments_at = {},
                           .arguments = {}};
    if (const Entry* e = setting("arguments")) {
      docker.arguments_at = at(e->line) + e->path;
      docker.arguments = parse_docker_arguments(texts(*e), docker.arguments_at);
    }
    if (const Entry* e = setting("shmSize"); e != nullptr && !docker.arguments.shm_bytes)
      docker.arguments.shm_bytes = parse_size(text(*e), at(e->line) + e->path);
    return docker;
  }

  Table platform() {
    const char* supported = "an image has the Engine's platform: leave it out";
    return {{"os", only({"Linux"}, supported)}, {"architecture", only({"amd64"}, supported)}};
  }

  // A text has several lines, or begins with an instruction; anything else is a path.
  std::string dockerfile() {
    const Entry* e = setting("baseDockerfile");
    if (e == nullptr) return {};
    if (setting("baseImage") != nullptr)
      throw Error(ErrorCode::kInvalid, at(e->line) + "'" + e->path + "': baseImage is given, too",
                  "keep one of baseImage and baseDockerfile");
    const std::string value = text(*e);
    if (value.find('\n') != std::string::npos) return value;
    if (folded(value).starts_with("from ")) return value + "\n";
    return (source_ / value).lexically_normal().string();
  }

  std::string base_image() {
    std::string address;
    if (const Entry* e = setting("baseImageRegistry")) section(*e, registry(address));
    const Entry* e = setting("baseImage");
    if (e == nullptr) return {};
    std::string image = text(*e);
    while (address.ends_with('/')) address.pop_back();
    if (!address.empty() && !image.starts_with(address + "/")) image = address + "/" + image;
    check_image_reference(image, at(e->line) + e->path);
    return image;
  }

  const Entry* setting(const std::string& key) const {
    const auto found = docker_.settings.find(key);
    return found == docker_.settings.end() ? nullptr : &found->second;
  }

  // --- what is done with a value
  // --------------------------------------------------------------------------------------
  static Take ignored() {
    return [](const Entry&) {};
  }

  Take only(const std::vector<std::string>& accepted, const std::string& supported) {
    return [this, accepted, supported](const Entry& e) {
      if (is_nothing(e.value)) return;
      const std::string value = text(e);
      if (std::none_of(accepted.begin(), accepted.end(), [&](const auto& one) { return folded(one) == folded(value); }))
        throw refused(e, supported);
    };
  }

  Take nothing_in_it(const std::string& supported) {
    return [this, supported](const Entry& e) {
      if (!holds_nothing(e.value)) throw refused(e, supported);
    };
  }

  Take distributed(const std::map<std::string, std::string>& defaults) {
    return [this, defaults](const Entry& e) {
      Table table;
      for (const auto& [key, value] : defaults)
        table.emplace(key, only({value}, "distributed jobs are not supported yet; the default is " + value));
      section(e, table);
    };
  }

  // Walks a mapping by its table; a missing or empty one is all defaults.
  void section(const Entry& entry, const Table& table) {
    if (is_nothing(entry.value)) return;
    if (!entry.value.IsMap()) throw wrong(entry, "keys and values");
    std::set<std::string> seen;
    for (const auto& item : entry.value) {
      const int line = item.first.Mark().line + 1;
      const std::string key = item.first.IsScalar() ? item.first.Scalar() : "?";
      const std::string path = entry.path.empty() ? key : entry.path + "." + key;
      if (!seen.insert(key).second) throw Error(ErrorCode::kInvalid, at(line) + "'" + path + "' is given twice");
      const auto known = table.find(key);
      if (known == table.end()) {
        warn(line, "unknown key '" + path + "'" + suggestion(key, table));
        continue;
      }
      known->second({.path = path, .line = line, .value = item.second});
    }
  }

  // --- values
  // ---------------------------------------------------------------------------------------------------------
  std::string text(const Entry& e) const {
    if (!e.value.IsScalar()) throw wrong(e, "text or a number");
    return e.value.Scalar();  // as written: 1e-3 stays 1e-3
  }

  std::optional<std::string> optional_text(const Entry& e) const {
    return is_nothing(e.value) ? std::nullopt : std::optional(text(e));
  }

  std::vector<std::string> texts(const Entry& e) const {
    if (!e.value.IsSequence()) throw wrong(e, "a list");
    std::vector<std::string> items;
    for (const YAML::Node& item : e.value)
      items.push_back(text(
          {.path = e.path + "[" + std::to_string(items.size()) + "]", .line = item.Mark().line + 1, .value = item}));
    return items;
  }

  // As --command: one text is a line for the shell, several are exactly the argument vector.
  std::optional<std::vector<std::string>> command_line(const Entry& e) const {
    if (is_nothing(e.value)) return std::nullopt;
    std::vector<std::string> items = e.value.IsSequence() ? texts(e) : std::vector{text(e)};
    if (items.size() == 1) return std::vector<std::string>{"sh", "-c", items.front()};
    return items;
  }

  std::optional<std::chrono::milliseconds> seconds(const Entry& e) const {
    if (is_nothing(e.value)) return std::nullopt;
    constexpr double kTenYears = 10 * 365.25 * 86400;  // seconds; as parse_duration
    double value = 0;
    if (!YAML::convert<double>::decode(e.value, value) || !(value > 0) || value > kTenYears)
      throw wrong(e, "a number of seconds above 0, or null for no limit");
    return std::chrono::milliseconds(static_cast<std::int64_t>(value * 1000));
  }

  bool boolean(const Entry& e) const {
    bool value = false;
    if (!YAML::convert<bool>::decode(e.value, value)) throw wrong(e, "true or false");
    return value;
  }

  void add_variables(const Entry& e, std::map<std::string, std::string>& to) const {
    if (is_nothing(e.value)) return;
    if (!e.value.IsMap()) throw wrong(e, "names and values");
    for (const auto& item : e.value) {
      const std::string name = text({.path = e.path, .line = item.first.Mark().line + 1, .value = item.first});
      const Entry value{.path = e.path + "." + name, .line = item.first.Mark().line + 1, .value = item.second};
      to[name] = item.second.IsNull() ? "" : text(value);
    }
  }

  std::optional<std::string> interpreter(const Entry& e) const {
    const auto path = optional_text(e);
    // Azure's default. Debian has no program of that name; ours is the active environment, else python3.
    if (!path || *path == "python") return std::nullopt;
    return path;
  }

  std::string on_this_machine(const std::string& path) const {
    return path.find('/') == std::string::npos ? path : (source_ / path).lexically_normal().string();
  }

  // Judged only at the end: with userManagedDependencies: true nothing is built, and that key may come later.
  void remember_conda(std::optional<Entry>& into, const Entry& e) {
    if (!holds_nothing(e.value)) into = e;
  }

  // What stands in the runconfig wins over the file it names, as in Azure ML.
  void read_conda() {
    if (user_managed_) return;
    if (conda_base_) throw refused(*conda_base_, "name what it holds in condaDependencies");
    if (conda_inline_)
      config_.conda = RunconfigConda{.file = {},
                                     .text = YAML::Dump(conda_inline_->value) + "\n",
                                     .at = at(conda_inline_->line) + "'" + conda_inline_->path + "'"};
    else if (conda_file_)
      config_.conda = RunconfigConda{.file = (source_ / text(*conda_file_)).lexically_normal(),
                                     .text = {},
                                     .at = at(conda_file_->line) + "'" + conda_file_->path + "'"};
  }

  // --- messages
  // -------------------------------------------------------------------------------------------------------
  std::string at(int line) const { return label_ + ":" + std::to_string(line) + ": "; }
  void warn(int line, const std::string& message) { config_.warnings.push_back(at(line) + message); }

  Error wrong(const Entry& e, const std::string& expected) const {
    if (e.path.empty()) return Error(ErrorCode::kInvalid, at(e.line) + "must hold " + expected);
    return Error(ErrorCode::kInvalid, at(e.line) + "'" + e.path + "' must be " + expected);
  }
  Error refused(const Entry& e, const std::string& supported) const {
    const std::string value = e.value.IsScalar() ? ": " + e.value.Scalar() : "";
    return Error(ErrorCode::kInvalid, at(e.line) + "'" + e.path + value + "' cannot be honoured here", supported);
  }
  static std::string suggestion(const std::string& key, const Table& table) {
    for (const auto& [known, take] : table)
      if (folded(known) == folded(key)) return " (did you mean '" + known + "'?)";
    return {};
  }

  std::string label_;
  fs::path source_;
  Runconfig config_;
  std::map<std::string, std::string> environments_variables_;
  std::optional<std::string> interpreter_path_;  // as written
  struct {
    std::optional<Entry> on;                // the switch, when it is on
    std::map<std::string, Entry> settings;  // by key, of whichever section came last
  } docker_;
  bool user_managed_ = false;
  std::optional<Entry> conda_file_;
  std::optional<Entry> conda_inline_;
  std::optional<Entry> conda_base_;
};

std::vector<fs::path> candidates(const fs::path& source, const std::string& name) {
  const fs::path path = name;
  if (path.is_absolute()) return {path};
  std::vector<fs::path> all;
  for (const char* folder : {".runner", ".azureml"}) {
    all.push_back(source / folder / (name + ".runconfig"));
    all.push_back(source / folder / path);
  }
  all.push_back(source / path);
  return all;
}

std::string names_there_are(const fs::path& source) {
  std::set<std::string> names;
  std::error_code ignored;
  for (const char* folder : {".runner", ".azureml"})
    for (const auto& entry : fs::directory_iterator(source / folder, ignored))
      if (entry.path().extension() == ".runconfig") names.insert(entry.path().stem());
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

std::string read_text(const fs::path& file, const std::string& label) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw Error(ErrorCode::kPermission, label + ": cannot be read", "check the file's permissions");
  std::string text(static_cast<std::size_t>(kMaxBytes) + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.gcount() > kMaxBytes) throw Error(ErrorCode::kInvalid, label + ": larger than 1 MiB, no runconfig");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  return text;
}

}  // namespace

Runconfig parse_runconfig(std::string_view text, const std::string& label, const fs::path& source_directory) {
  return Reader(label, source_directory).read(text);
}

Runconfig load_runconfig(const fs::path& source_directory, const std::string& name) {
  std::error_code ignored;
  if (name.empty()) throw Error(ErrorCode::kInvalid, "--config: empty");
  for (const fs::path& file : candidates(source_directory, name)) {
    if (!fs::is_regular_file(file, ignored)) continue;
    const fs::path inside = file.lexically_proximate(source_directory);
    const std::string label = (inside.string().starts_with("..") ? file : inside).string();
    Runconfig config = parse_runconfig(read_text(file, label), label, source_directory);
    config.file = file;
    return config;
  }
  const std::string names = names_there_are(source_directory);
  throw Error(ErrorCode::kInvalid,
              "--config " + name + ": no such runconfig in .runner/ or .azureml/ of " + source_directory.string(),
              names.empty() ? "write .runner/" + name + ".runconfig there" : "there are: " + names);
}

}  // namespace runner::api
