#include "runner/api/docker_arguments.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "runner/api/docker_options.hpp"
#include "runner/api/docker_values.hpp"
#include "runner/core/error.hpp"
#include "runner/core/nearest.hpp"
#include "runner/core/time.hpp"

namespace runner::api {
namespace {

// What an option does with its value; `what` is how messages begin.
using Take = void (*)(DockerArguments& into, const std::string& value, const std::string& what);

struct TakenOption {
  std::string_view name;
  char letter;
  Take take;
};

Error wrong(const std::string& what, const std::string& why, const std::string& way_out) {
  return Error(ErrorCode::kInvalid, what + ": " + why, way_out);
}

void take_variable(DockerArguments& into, const std::string& value, const std::string& what) {
  const auto equals = value.find('=');
  if (equals == 0 || value.empty()) throw wrong(what + " " + value, "a name is missing", "write -e NAME=VALUE");
  // docker would look into the environment of whoever runs it; that is not the user here.
  if (equals == std::string::npos)
    throw wrong(what + " " + value, "a value is missing",
                "write -e " + value + "=VALUE, or pass yours on with runner submit -E " + value);
  into.environment_variables[value.substr(0, equals)] = value.substr(equals + 1);
}

void take_label(DockerArguments& into, const std::string& value, const std::string& what) {
  const auto equals = value.find('=');
  const std::string name = value.substr(0, equals);
  if (name.empty()) throw wrong(what + " " + value, "a name is missing", "write --label NAME=VALUE");
  if (name.starts_with("runner."))
    throw wrong(what + " " + value, "labels beginning with runner. are the runner's own", "choose another name");
  into.engine.labels[name] = equals == std::string::npos ? "" : value.substr(equals + 1);
}

void take_network(DockerArguments& into, const std::string& value, const std::string& what) {
  const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
           c == '_';
  });
  // "container:NAME" joins another container, "name=…,ip=…" has settings nobody reads here.
  if (!plain)
    throw wrong(what + " " + value, "only the name of a network is supported",
                "write none, bridge, host or the name of one of the Engine's networks");
  into.network = value != "none";
  into.engine.network = value == "none" || value == "default" ? "" : value;
}

const std::string& not_empty(const std::string& value, const std::string& what) {
  if (value.empty()) throw wrong(what, "a value is missing", "add it");
  return value;
}

std::int64_t size_of(const std::string& value, const std::string& what) { return parse_size(value, what); }

void take_pids(DockerArguments& into, const std::string& value, const std::string& what) {
  const std::int64_t limit = parse_integer(value, what, -1, 4'194'304);  // PID_MAX_LIMIT
  into.pids = limit > 0 ? std::optional(limit) : std::nullopt;           // docker's 0 and -1: no limit
}

void take_mount(DockerArguments& into, const std::string& value, const std::string& what) {
  MountOption mount = parse_mount_option(value, what);
  if (mount.bind.empty())
    into.engine.tmpfs.insert_or_assign(mount.tmpfs.first, mount.tmpfs.second);
  else
    into.mounts.push_back(std::move(mount.bind));
}

using Args = DockerArguments;
using Text = const std::string&;

constexpr std::array kTaken{
    TakenOption{"env", 'e', take_variable},
    TakenOption{"volume", 'v', [](Args& a, Text v, Text w) { a.mounts.push_back(parse_volume(v, w)); }},
    TakenOption{"mount", 0, take_mount},
    TakenOption{"tmpfs", 0,
                [](Args& a, Text v, Text w) {
                  auto [path, options] = parse_tmpfs(v, w);
                  a.engine.tmpfs.insert_or_assign(std::move(path), std::move(options));
                }},
    TakenOption{"memory", 'm', [](Args& a, Text v, Text w) { a.memory_bytes = size_of(v, w); }},
    TakenOption{"memory-reservation", 0, [](Args& a, Text v, Text w) { a.engine.memory_reservation = size_of(v, w); }},
    TakenOption{"shm-size", 0, [](Args& a, Text v, Text w) { a.shm_bytes = size_of(v, w); }},
    TakenOption{"cpus", 0, [](Args& a, Text v, Text w) { a.cpus = parse_cpus(v, w); }},
    TakenOption{
        "cpu-shares", 'c',
        [](Args& a, Text v, Text w) { a.engine.cpu_shares = parse_integer(v, w, 2, 262'144); }},  // the kernel's
    TakenOption{"gpus", 0, [](Args& a, Text v, Text w) { a.gpus = parse_gpus(v, w); }},
    TakenOption{"cpuset-cpus", 0, [](Args& a, Text v, Text w) { a.engine.cpuset_cpus = parse_cpuset(v, w); }},
    TakenOption{"pids-limit", 0, take_pids},
    TakenOption{"ulimit", 0, [](Args& a, Text v, Text w) { a.engine.ulimits.push_back(parse_ulimit(v, w)); }},
    TakenOption{"network", 0, take_network},
    TakenOption{"net", 0, take_network},  // docker's older name, no longer in its help
    TakenOption{"hostname", 'h', [](Args& a, Text v, Text w) { a.engine.hostname = parse_hostname(v, w); }},
    TakenOption{"add-host", 0, [](Args& a, Text v, Text w) { a.engine.extra_hosts.push_back(parse_extra_host(v, w)); }},
    TakenOption{"dns", 0, [](Args& a, Text v, Text w) { a.engine.dns.push_back(parse_address(v, w)); }},
    TakenOption{"dns-search", 0, [](Args& a, Text v, Text w) { a.engine.dns_search.push_back(not_empty(v, w)); }},
    TakenOption{"dns-option", 0, [](Args& a, Text v, Text w) { a.engine.dns_options.push_back(not_empty(v, w)); }},
    TakenOption{"dns-opt", 0, [](Args& a, Text v, Text w) { a.engine.dns_options.push_back(not_empty(v, w)); }},
    TakenOption{"label", 'l', take_label},
};

// True of every run: its container is removed when it ends, and its first process reaps the others.
constexpr std::array<std::string_view, 2> kAlways{"rm", "init"};

std::string closest(std::string_view name) {
  std::vector<std::string_view> names(kAlways.begin(), kAlways.end());
  for (const TakenOption& row : kTaken) names.push_back(row.name);
  for (const RefusedOption& row : refused_options()) names.push_back(row.name);
  return std::string(nearest(name, names));
}

class Words {
 public:
  Words(std::span<const std::string> words, const std::string& label) : words_(words), label_(label) {}

  DockerArguments read() {
    for (; at_ < words_.size(); ++at_) {
      const std::string& word = words_[at_];
      if (word.size() > 2 && word.starts_with("--"))
        long_option(word);
      else if (word.size() > 1 && word[0] == '-' && word[1] != '-')
        short_option(word);
      else
        throw wrong(label_ + ": '" + word + "'", "not an option",
                    "only options of docker run stand here: the image is baseImage, its command is 'script' or "
                    "'command'");
    }
    return std::move(result_);
  }

 private:
  void long_option(const std::string& word) {
    const auto equals = word.find('=');
    const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
    const auto attached = equals == std::string::npos ? std::nullopt : std::optional(word.substr(equals + 1));
    const std::string what = label_ + ": --" + name;
    for (const TakenOption& row : kTaken)
      if (row.name == name) return row.take(result_, attached ? *attached : next_word(what), what);
    if (std::find(kAlways.begin(), kAlways.end(), name) != kAlways.end()) return always(name, attached, what);
    if (const RefusedOption* row = find_refused(name)) throw refused(*row, what);
    if (is_build_option(name))
      throw wrong(what, "belongs to docker build, not to docker run",
                  "build the image first, then name it as baseImage");
    if (name.find_first_of(" \t") != std::string::npos) throw two_items(what);
    const std::string near = closest(name);
    throw wrong(what, "unknown option", near.empty() ? "docker run --help lists them" : "did you mean --" + near + "?");
  }

  void short_option(const std::string& word) {
    const char letter = word[1];
    const std::string what = label_ + ": -" + letter;
    for (const TakenOption& row : kTaken) {
      if (row.letter != letter) continue;
      std::string value = word.size() > 2 ? word.substr(2) : next_word(what);
      if (value.starts_with(' ')) throw two_items(what);
      if (word.size() > 3 && value.starts_with('=')) value.erase(0, 1);  // -m=2g, as docker reads it
      return row.take(result_, value, what);
    }
    if (const RefusedOption* row = find_refused(letter)) throw refused(*row, what);
    if (letter == 'f' || letter == 'o')
      throw wrong(what, "belongs to docker build, not to docker run",
                  "build the image first, then name it as baseImage");
    throw wrong(what, "unknown option", "docker run --help lists them");
  }

  void always(const std::string& name, const std::optional<std::string>& value, const std::string& what) const {
    if (!value || *value == "true") return;
    throw wrong(what + "=" + *value, name == "rm" ? "a run's container is always removed" : "a run always has an init",
                "leave it out");
  }

  const std::string& next_word(const std::string& what) {
    if (at_ + 1 == words_.size()) throw wrong(what, "a value is missing", "add it as the next item");
    return words_[++at_];
  }

  static Error two_items(const std::string& what) {
    return wrong(what, "an option and its value are two items", "write two items, or --option=value");
  }

  static Error refused(const RefusedOption& row, const std::string& what) {
    return wrong(what + " is refused", std::string(row.why), std::string(row.way_out));
  }

  std::span<const std::string> words_;
  const std::string& label_;
  std::size_t at_ = 0;
  DockerArguments result_;
};

}  // namespace

DockerArguments parse_docker_arguments(std::span<const std::string> words, const std::string& label) {
  return Words(words, label).read();
}

}  // namespace runner::api
