// pyproject.toml: the standard [project] table (PEP 621), nothing of any build tool's own.
#include <toml++/toml.h>
#include <algorithm>

#include "envs/credentials.hpp"
#include "envs/python_version.hpp"
#include "envs/specification_files.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{16} << 20;
constexpr const char* kHintExport =
    "write what it needs into a requirements.txt (uv export, poetry export) and give that";

class Pyproject {
 public:
  explicit Pyproject(const fs::path& file) : file_(file) {}

  ReadSpecification read() {
    const toml::table document = parse();
    const toml::table* project = document["project"].as_table();
    if (project == nullptr)
      throw Error(ErrorCode::kInvalid, file_.string() + ": has no [project] table",
                  document["tool"]["poetry"] ? kHintExport : "[project] with dependencies = [\"NAME\", …]");
    refuse_dynamic(*project);
    found_.specification.kind = SpecificationKind::kVenv;
    if (const toml::node* dependencies = project->get("dependencies")) add_dependencies(*dependencies);
    if (const toml::node* python = project->get("requires-python")) add_python(*python);
    warn_of_uv(document);
    return std::move(found_);
  }

 private:
  std::string place(const toml::source_region& where) const {
    return file_.string() + ":" + std::to_string(where.begin.line) + ":" + std::to_string(where.begin.column);
  }
  [[noreturn]] void fail(const toml::node& node, const std::string& why, const std::string& hint = {}) const {
    throw Error(ErrorCode::kInvalid, place(node.source()) + ": " + why, hint);
  }

  toml::table parse() const {
    std::error_code ignored;
    if (fs::is_directory(file_, ignored)) throw Error(ErrorCode::kInvalid, file_.string() + ": is a directory");
    const std::string text = os::read_file(file_, kMaxBytes);
    try {
      return toml::parse(text);
    } catch (const toml::parse_error& error) {
      throw Error(ErrorCode::kInvalid, place(error.source()) + ": " + std::string(error.description()));
    }
  }

  void refuse_dynamic(const toml::table& project) const {
    const toml::array* dynamic = project["dynamic"].as_array();
    if (dynamic == nullptr) return;
    for (const toml::node& name : *dynamic)
      if (name.value<std::string>() == "dependencies")
        fail(name, "the dependencies are dynamic: only the project's build knows them", kHintExport);
  }

  void add_dependencies(const toml::node& node) {
    const toml::array* list = node.as_array();
    if (list == nullptr) fail(node, "'dependencies' is not a list", "dependencies = [\"NAME>=1\", \"OTHER\"]");
    auto& pip = found_.specification.pip;
    for (const toml::node& item : *list) {
      const auto requirement = item.value<std::string>();
      if (!requirement) fail(item, "a dependency is not a text");
      try {
        pip.push_back(stripped(normalised_requirement(*requirement)));
      } catch (const Error& error) {
        fail(item, without_credentials_in(error.message()), error.hint());
      }
    }
    std::sort(pip.begin(), pip.end());
    pip.erase(std::unique(pip.begin(), pip.end()), pip.end());
  }

  // "name @ URL ; marker", the URL without its credentials. Local files are pip's matter in requirements files only.
  std::string stripped(const std::string& requirement) {
    const auto at = requirement.find(" @ ");
    if (at == std::string::npos) return requirement;
    const auto begin = at + 3;
    const auto end = std::min(requirement.find(' ', begin), requirement.size());
    const std::string url = requirement.substr(begin, end - begin);
    if (url.starts_with("file:"))
      throw Error(ErrorCode::kInvalid, "'" + url + "': local files are not read from a pyproject.toml",
                  "name the file in a requirements.txt");
    const auto result = without_credentials(url);
    if (result.had_credentials) found_.credentials.emplace(result.url, url);
    return requirement.substr(0, begin) + result.url + requirement.substr(end);
  }

  void add_python(const toml::node& node) {
    const auto specifiers = node.value<std::string>();
    if (!specifiers) fail(node, "'requires-python' is not a text", "requires-python = \">=3.9\"");
    try {
      python_satisfies("3", *specifiers);
    } catch (const Error& error) {
      fail(node, error.message(), error.hint());
    }
    // The grammar of a package's specifiers, in the same one spelling.
    const std::string canonical = normalised_requirement("python" + *specifiers);
    if (canonical != "python")
      found_.specification.pip_options.push_back(std::string(kRequiresPython) +
                                                 canonical.substr(std::string_view("python").size()));
  }

  // uv's own tables change where packages come from; nobody here reads them.
  void warn_of_uv(const toml::table& document) {
    for (const char* name : {"sources", "index"})
      if (const auto table = document["tool"]["uv"][name])
        found_.warnings.push_back(place(table.node()->source()) + ": [tool.uv." + name +
                                  "] is not read; name indexes and URLs in a requirements.txt");
  }

  const fs::path file_;
  ReadSpecification found_;
};

}  // namespace

ReadSpecification read_pyproject(const fs::path& file) { return Pyproject(file).read(); }

}  // namespace runner::envs
