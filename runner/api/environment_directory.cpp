#include "runner/api/environment_directory.hpp"

#include <nlohmann/json.hpp>

#include "runner/core/error.hpp"

namespace runner::api {
namespace {

using Json = nlohmann::ordered_json;
using Texts = std::vector<std::string>;

constexpr std::string_view kRequiresPython = "--requires-python=";  // of a pyproject.toml, among the pip options
constexpr const char* kConstraintsFile = "constraints.txt";
constexpr const char* kDockerfile = "Dockerfile";

// A JSON string is a YAML scalar and a TOML string, whatever is in it.
std::string json_text(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string lines_of(const Texts& lines) {
  std::string text;
  for (const std::string& line : lines) text.append(line).append("\n");
  return text;
}

class Directory {
 public:
  Directory(std::string name, std::string version, const Json& definition)
      : name_(std::move(name)), version_(std::move(version)), specification_(definition.at("specification")) {
    if (const auto at = definition.find("variables"); at != definition.end()) variables_ = *at;
    if (variables_.is_null()) variables_ = Json::object();
  }

  EnvironmentDirectory write() && {
    const std::string kind = text("kind");
    if (kind == "conda" || kind == "conda-image") write_conda();
    if (kind == "venv") write_pip_file();
    if (kind == "dockerfile") write_dockerfile();
    if (specification_.contains("files"))
      made_.warnings.emplace_back("local files that requirements name are not copied: they stay where they are");
    made_.files[kEnvironmentFile] = document(kind).dump(4, ' ', false, Json::error_handler_t::replace) + "\n";
    return std::move(made_);
  }

 private:
  std::string text(const char* key) const { return specification_.value(key, std::string()); }
  Texts texts(const char* key) const { return specification_.value(key, Texts()); }

  Json document(const std::string& kind) const {
    Json python;
    const std::string interpreter = text("interpreter");
    python["userManagedDependencies"] = kind == "interpreter" || kind == "image" || kind == "dockerfile";
    python["interpreterPath"] = kind == "interpreter" && !interpreter.empty() ? interpreter : "python";
    python["condaDependenciesFile"] = made_.files.contains(kCondaFile) ? Json(kCondaFile) : Json(nullptr);
    python["baseCondaEnvironment"] = nullptr;
    const std::string image = text("image");
    Json docker;
    docker["enabled"] = !image.empty() || kind == "dockerfile";
    docker["baseImage"] = image.empty() ? Json(nullptr) : Json(image);
    docker["baseDockerfile"] = kind == "dockerfile" ? Json(kDockerfile) : Json(nullptr);
    docker["arguments"] = Json::array();
    Json document;
    document["name"] = name_;
    document["version"] = version_.empty() ? Json(nullptr) : Json(version_);
    document["environmentVariables"] = variables_;
    document["python"] = std::move(python);
    document["docker"] = std::move(docker);
    return document;
  }

  // Options first, in their order; constraints stand in a file of their own, for pip knows no other way.
  Texts pip_lines() {
    Texts lines;
    for (const std::string& option : texts("pipOptions"))
      if (!option.starts_with(kRequiresPython)) lines.push_back(option);
    if (const Texts constraints = texts("constraints"); !constraints.empty()) {
      made_.files[kConstraintsFile] = lines_of(constraints);
      lines.push_back(std::string("-c ") + kConstraintsFile);
    }
    for (const std::string& requirement : texts("pip")) lines.push_back(requirement);
    return lines;
  }

  void write_conda() {
    std::string yaml = "name: " + json_text(name_) + "\n";
    if (const Texts channels = texts("channels"); !channels.empty()) {
      yaml += "channels:\n";
      for (const std::string& channel : channels) yaml += "  - " + json_text(channel) + "\n";
    }
    const Texts conda = texts("conda");
    const Texts pip = pip_lines();
    yaml += conda.empty() && pip.empty() ? "dependencies: []\n" : "dependencies:\n";
    for (const std::string& package : conda) yaml += "  - " + json_text(package) + "\n";
    if (!pip.empty()) yaml += "  - pip:\n";
    for (const std::string& line : pip) yaml += "      - " + json_text(line) + "\n";
    made_.files[kCondaFile] = yaml;
  }

  void write_pip_file() {
    std::string python;
    for (const std::string& option : texts("pipOptions"))
      if (option.starts_with(kRequiresPython)) python = option.substr(kRequiresPython.size());
    if (python.empty()) {
      made_.files[kRequirementsFile] = lines_of(pip_lines());
      return;
    }
    std::string toml = "[project]\nname = " + json_text(name_) +
                       "\nversion = \"0\"\nrequires-python = " + json_text(python) + "\ndependencies = [\n";
    for (const std::string& requirement : texts("pip")) toml += "    " + json_text(requirement) + ",\n";
    made_.files[kProjectFile] = toml + "]\n";
  }

  void write_dockerfile() {
    made_.files[kDockerfile] = text("dockerfile");
    if (const std::string context = text("context"); !context.empty())
      made_.warnings.push_back("the Dockerfile copies files of " + context + ": they are not part of the environment");
    if (specification_.contains("buildArguments"))
      made_.warnings.emplace_back("build arguments have no place in the files: give them as --build-arg");
  }

  const std::string name_;
  const std::string version_;
  const Json specification_;
  Json variables_;
  EnvironmentDirectory made_;
};

}  // namespace

EnvironmentDirectory scaffold_directory(const std::string& name) {
  EnvironmentDirectory made;
  made.files[kEnvironmentFile] = R"({
    "name": )" + json_text(name) +
                                 R"(,
    "version": null,
    "environmentVariables": {},
    "python": {
        "userManagedDependencies": false,
        "interpreterPath": "python",
        "condaDependenciesFile": "conda_dependencies.yml",
        "baseCondaEnvironment": null
    },
    "docker": {
        "enabled": false,
        "baseImage": null,
        "baseDockerfile": null,
        "arguments": []
    }
}
)";
  made.files[kCondaFile] =
      "# What the environment holds. A pip package goes below 'pip:', every other one above it.\nname: " +
      json_text(name) + R"(
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  # - pip:
  #     - scikit-learn
)";
  return made;
}

EnvironmentDirectory directory_of(const std::string& name, const std::string& version, std::string_view definition) {
  try {
    return Directory(name, version, Json::parse(definition)).write();
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kInternal, "environment " + name + ": its definition is damaged: " + error.what());
  }
}

}  // namespace runner::api
