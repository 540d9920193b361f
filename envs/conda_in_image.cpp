// A conda prefix for an image: made here by the same client, solved for the image's C library, its programs started in
// the image (docs/decisions/conda-in-image.md).
#include <unistd.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "envs/builders.hpp"
#include "envs/conda_prefix.hpp"
#include "runner/core/error.hpp"
#include "runner/os/file.hpp"

namespace runner::envs {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t kMostCaptured = std::size_t{64} << 20;  // bytes, as BuildConsole::capture

json bind_of(const fs::path& path, bool writable) {
  return {{"Type", "bind"}, {"Source", path.string()}, {"Target", path.string()}, {"ReadOnly", !writable}};
}

// Output in pieces as whole lines.
class LineBuffer {
 public:
  explicit LineBuffer(std::function<void(const std::string&)> take) : take_(std::move(take)) {}
  void feed(std::string_view bytes) {
    for (const char c : bytes) {
      const bool line_feed_of_pair = c == '\n' && after_return_;
      after_return_ = c == '\r';
      if (c != '\n' && c != '\r')
        partial_ += c;
      else if (!line_feed_of_pair)
        end_line();
    }
  }
  void end() {
    if (!partial_.empty()) end_line();
  }

 private:
  void end_line() {
    take_(partial_);
    partial_.clear();
  }
  std::function<void(const std::string&)> take_;
  std::string partial_;
  bool after_return_ = false;
};

class ImageTools {
 public:
  ImageTools(const BuildRequest& request, engine::Engine& engine, const std::string& image, BuildConsole& console)
      : request_(request), engine_(engine), image_(image), console_(console) {
    engine_.stop_when([&console] {
      console.check();
      return false;
    });
    const auto found = engine_.inspect_image(image_);
    if (!found)
      throw Error(ErrorCode::kNotFound, "image " + image_.substr(0, 19) + " is no longer here", "submit again");
    for (const std::string& entry : found->environment)
      if (entry.starts_with("PATH=")) image_path_ = entry.substr(5);
  }

  // As BuildConsole::run and capture, in a container.
  int run(const Tool& tool, const std::function<void(std::string_view)>& on_line, std::string* out) {
    console_.check();
    LineBuffer lines([&](const std::string& line) {
      console_.write(line + "\n");
      if (on_line) on_line(console_.redacted(line));
    });
    if (out != nullptr) out->clear();
    const int status = engine_.run_container(
        container_for(tool).dump(-1, ' ', false, json::error_handler_t::replace),
        "start " + tool.name + " in the image", [&](bool is_error, std::string_view bytes) {
          if (out == nullptr || is_error) return lines.feed(bytes);
          if (out->size() + bytes.size() > kMostCaptured)
            throw Error(ErrorCode::kUnavailable, tool.name + ": its answer is larger than 64 MiB");
          *out += bytes;
        });
    lines.end();
    return status;
  }

  // What a program of the image says, stdout and stderr; empty if the image has none of that name.
  std::string ask(const std::vector<std::string>& arguments) {
    std::string words;
    json body = container_for({.name = arguments[0], .arguments = arguments, .variables = {}, .directory = "/"});
    body["HostConfig"]["Mounts"] = json::array();
    try {
      engine_.run_container(body.dump(), "ask " + arguments[0] + " in the image",
                            [&](bool, std::string_view bytes) { words += bytes.substr(0, 4096); });
    } catch (const Error& error) {
      // "executable file not found": 400, with old engines 404 or 500.
      if (error.message().find("no such file") == std::string::npos &&
          error.message().find("not found") == std::string::npos)
        throw;
    }
    return words;
  }

 private:
  json container_for(const Tool& tool) const {
    auto variables = tool.variables;
    const std::string programs = (request_.prefix / "bin").string();
    if (!variables["PATH"].starts_with(programs)) variables["PATH"] = programs + ":" + image_path_;
    // The caller's directories are not there, and the image's Python settings are another Python's.
    variables["HOME"] = variables["TMPDIR"] = console_.scratch().string();
    for (const char* name : {"LD_LIBRARY_PATH", "LD_PRELOAD"}) variables.erase(name);
    for (const char* name : {"PYTHONPATH", "PYTHONHOME"}) variables.try_emplace(name);
    json environment = json::array();
    for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
    json labels = json::object();
    for (const std::string& label : request_.settings.container_labels)
      labels[label.substr(0, label.find('='))] = label.substr(label.find('=') + 1);
    return {{"Image", image_},
            {"Entrypoint", {tool.arguments.at(0)}},
            {"Cmd", std::vector<std::string>(tool.arguments.begin() + 1, tool.arguments.end())},
            {"User", user()},
            {"WorkingDir", tool.directory.empty() ? console_.scratch().string() : tool.directory.string()},
            {"Env", std::move(environment)},
            {"Labels", std::move(labels)},
            {"Tty", false},
            {"Healthcheck", {{"Test", {"NONE"}}}},
            {"HostConfig", host_config()}};
  }

  // Files must be the caller's, as in runs (runner/exec/container_config.cpp).
  std::string user() const {
    const engine::EngineFacts& facts = engine_.facts();
    if (facts.rootless && !facts.podman) return "0:0";
    return std::to_string(::getuid()) + ":" + std::to_string(::getgid());
  }

  json host_config() const {
    const engine::EngineFacts& facts = engine_.facts();
    json config{{"Mounts", mounts()},  {"NetworkMode", "host"},
                {"CapDrop", {"ALL"}},  {"SecurityOpt", {"no-new-privileges"}},
                {"Privileged", false}, {"LogConfig", {{"Type", "json-file"}}}};
    if (facts.podman)
      config["UsernsMode"] = facts.rootless ? "keep-id" : "";
    else if (!facts.rootless)
      config["UsernsMode"] = "host";
    return config;
  }

  json mounts() const {
    json mounts = json::array();
    for (const fs::path& path : {request_.prefix, console_.scratch(), request_.settings.wheels})
      if (!path.empty() && fs::is_directory(path)) mounts.push_back(bind_of(path, true));
    for (const std::string& path : local_sources()) mounts.push_back(bind_of(path, false));
    return mounts;
  }

  // Files that requirements name, and directories of wheels among pip's options.
  std::set<std::string> local_sources() const {
    std::set<std::string> sources;
    for (const auto& [path, digest] : request_.specification.files) sources.insert(path);
    for (const std::string& option : request_.specification.pip_options) {
      std::string value = option.substr(std::min(option.find('=') + 1, option.size()));
      if (value.starts_with("file://")) value = value.substr(7);
      std::error_code failed;
      if (value.starts_with('/') && fs::exists(value, failed)) sources.insert(value);
    }
    return sources;
  }

  const BuildRequest& request_;
  engine::Engine& engine_;
  const std::string image_;
  BuildConsole& console_;
  std::string image_path_ = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
};

// "glibc 2.36", "ldd (Debian GLIBC 2.36-9) 2.36\n…", "ld.so (…) stable release version 2.36." → "2.36".
std::string version_at_end(std::string_view words) {
  std::string_view line = words.substr(0, words.find('\n'));
  while (!line.empty() && (line.back() < '0' || line.back() > '9')) line.remove_suffix(1);
  const auto begin = line.find_last_not_of("0123456789.");
  const std::string version(line.substr(begin == std::string_view::npos ? 0 : begin + 1));
  return version.find('.') == std::string::npos ? "" : version;
}

// The version of the image's GNU C library; empty: it has another one, or none.
std::string glibc_of(ImageTools& image) {
  const std::array<std::vector<std::string>, 4> questions{{{"getconf", "GNU_LIBC_VERSION"},
                                                           {"ldd", "--version"},
                                                           {"/lib64/ld-linux-x86-64.so.2", "--version"},
                                                           {"/lib/ld-linux-aarch64.so.1", "--version"}}};
  for (const std::vector<std::string>& question : questions) {
    const std::string words = image.ask(question);
    if (words.find("musl") != std::string::npos) return "";
    const bool gnu = words.find("glibc") != std::string::npos || words.find("GLIBC") != std::string::npos ||
                     words.find("GNU") != std::string::npos || words.find("ld.so") != std::string::npos;
    if (const std::string version = version_at_end(words); gnu && !version.empty()) return version;
  }
  return "";
}

void require_start(ImageTools& image, const std::string& python, BuildConsole& console) {
  console.step("starting the environment's Python in the image");
  const Tool tool{.name = "python", .arguments = {python, "-c", "import sys"}, .variables = {}, .directory = {}};
  const int status = image.run(tool, {}, nullptr);
  if (status != 0) throw console.failure("the environment's Python does not start in the image", status);
}

}  // namespace

BuildResult build_conda_in_image(const BuildRequest& request, engine::Engine& engine, const std::string& image,
                                 BuildConsole& console) {
  if (!request.settings.wheels.empty()) os::make_directories(request.settings.wheels);
  ImageTools tools(request, engine, image, console);
  const std::string& name = request.specification.image;
  console.step("asking image " + name + " for its C library");
  const std::string glibc = glibc_of(tools);
  console.write(glibc.empty() ? "no GNU C library\n" : "glibc " + glibc + "\n");
  const CondaPrefixOptions options{
      .virtual_packages = {{"glibc", glibc}},
      .link_scripts = false,
      .inside = [&](const Tool& tool, const auto& on_line, std::string* out) { return tools.run(tool, on_line, out); }};
  BuildResult result;
  try {
    result = build_conda_prefix(request, options, console);
    if (!result.interpreter.empty()) require_start(tools, result.interpreter, console);
  } catch (const Error& error) {
    if (!glibc.empty() || (error.code() != ErrorCode::kInvalid && error.code() != ErrorCode::kNotFound)) throw;
    throw Error(error.code(), error.message(),
                "image " + name +
                    " has no GNU C library (Alpine has musl), and almost all conda packages need one: use an "
                    "image of Debian, Ubuntu or Fedora");
  }
  result.image = image;
  result.lock.image = image;
  return result;
}

}  // namespace runner::envs
