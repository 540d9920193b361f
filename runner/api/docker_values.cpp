#include "runner/api/docker_values.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <vector>

#include "runner/core/error.hpp"

namespace runner::api {
namespace {

Error wrong(const std::string& what, const std::string& text, const std::string& why, const std::string& form) {
  return Error(ErrorCode::kInvalid, what + " " + text + ": " + why, "write " + form);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (const char c : text) {
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

bool is_address(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> ignored{};
  return ::inet_pton(AF_INET, text.c_str(), ignored.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), ignored.data()) == 1;
}

bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= 253 && text.front() != '-' && text.front() != '.' &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
                  c == '_';
         });
}

bool read_integer(std::string_view text, std::int64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

// Only what an absolute path in the container can be; what the run itself mounts there is the pipeline's to say.
bool is_target(const std::string& path) { return path.size() > 1 && path.front() == '/'; }

}  // namespace

EngineOptions::Ulimit parse_ulimit(const std::string& text, const std::string& what) {
  // getrlimit(2)'s names, as docker spells them.
  constexpr std::array<std::string_view, 15> kNames{"core",    "cpu",      "data",   "fsize",      "locks",
                                                    "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                                    "rss",     "rtprio",   "rttime", "sigpending", "stack"};
  const char* form = "--ulimit NAME=SOFT[:HARD], -1 for unlimited: --ulimit nofile=1024:2048";
  const auto equals = text.find('=');
  if (equals == std::string::npos) throw wrong(what, text, "not NAME=SOFT[:HARD]", form);
  EngineOptions::Ulimit limit{.name = text.substr(0, equals)};
  if (std::find(kNames.begin(), kNames.end(), limit.name) == kNames.end())
    throw wrong(what, text, "there is no limit called '" + limit.name + "'", form);
  const auto values = split(text.substr(equals + 1), ':');
  if (values.size() > 2 || !read_integer(values.front(), limit.soft) || !read_integer(values.back(), limit.hard) ||
      limit.soft < -1 || limit.hard < -1)
    throw wrong(what, text, "not numbers", form);
  if (limit.hard != -1 && (limit.soft == -1 || limit.soft > limit.hard))
    throw wrong(what, text, "the soft limit is above the hard one", form);
  return limit;
}

std::string parse_cpuset(const std::string& text, const std::string& what) {
  for (const std::string& range : split(text, ',')) {
    const auto ends = split(range, '-');
    std::int64_t first = 0, last = 0;
    if (ends.size() > 2 || !read_integer(ends.front(), first) || !read_integer(ends.back(), last) || first < 0 ||
        last < first)
      throw wrong(what, text, "not a list of CPUs", "numbers and ranges: 0-2,4");
  }
  return text;
}

std::string parse_extra_host(const std::string& text, const std::string& what) {
  const char* form = "NAME:ADDRESS, as in db:10.0.0.1 or host.docker.internal:host-gateway";
  const auto separator = text.find_first_of(":=");
  if (separator == std::string::npos) throw wrong(what, text, "not NAME:ADDRESS", form);
  const std::string name = text.substr(0, separator);
  std::string address = text.substr(separator + 1);
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  if (!is_host_name(name)) throw wrong(what, text, "'" + name + "' is no host name", form);
  // "host-gateway" is the Engine's own word for the address of the host.
  if (address != "host-gateway" && !is_address(address))
    throw wrong(what, text, "'" + address + "' is no IP address", form);
  return name + ":" + address;
}

std::string parse_address(const std::string& text, const std::string& what) {
  if (!is_address(text)) throw wrong(what, text, "not an IP address", "an address such as 9.9.9.9");
  return text;
}

std::string parse_hostname(const std::string& text, const std::string& what) {
  constexpr std::size_t kMost = 63;  // HOST_NAME_MAX is 64; RFC 1123 allows 63
  if (!is_host_name(text) || text.size() > kMost)
    throw wrong(what, text, "not a host name", "at most 63 letters, digits, '-' and '.'");
  return text;
}

std::pair<std::string, std::string> parse_tmpfs(const std::string& text, const std::string& what) {
  const auto colon = text.find(':');
  std::string path = text.substr(0, colon);
  if (!is_target(path)) throw wrong(what, text, "the path must be absolute", "/scratch or /scratch:size=64m");
  return {std::move(path), colon == std::string::npos ? std::string() : text.substr(colon + 1)};
}

std::string parse_gpus(const std::string& text, const std::string& what) {
  std::string value = text;  // docker wants "device=0,1" in quotes, since it reads a line of CSV
  if (value.size() > 1 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  if (value.find('"') != std::string::npos || value.find("capabilities=") != std::string::npos ||
      value.find("driver=") != std::string::npos)
    throw Error(ErrorCode::kInvalid, what + ": '" + text + "' is not all, a number of GPUs or device=IDS",
                "name the GPUs alone");
  return value;
}

double parse_cpus(const std::string& text, const std::string& what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0.01 && value <= 4096))
    throw wrong(what, text, "not a number of CPUs", "0.5, 1, 2, …");
  return value;
}

std::int64_t parse_integer(const std::string& text, const std::string& what, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  if (!read_integer(text, value) || value < least || value > most)
    throw wrong(what, text, "not a whole number in range",
                "a number from " + std::to_string(least) + " to " + std::to_string(most));
  return value;
}

std::string parse_volume(const std::string& text, const std::string& what) {
  const char* form = "SRC:DST, SRC:DST:ro or SRC:DST:rw with absolute paths";
  const auto parts = split(text, ':');
  if (parts.size() == 1) throw wrong(what, text, "an anonymous volume would be lost with the run", form);
  if (parts.size() > 3) throw wrong(what, text, "not SRC:DST[:MODE]", form);
  if (!parts[0].starts_with('/'))
    throw wrong(what, text, "'" + parts[0] + "' is no absolute path; volumes of the Engine are not supported", form);
  if (!is_target(parts[1])) throw wrong(what, text, "'" + parts[1] + "' is no absolute path", form);
  std::string mode = "rw";  // docker's default
  if (parts.size() == 3)
    for (const std::string& option : split(parts[2], ',')) {
      if (option == "ro" || option == "rw") mode = option;
      // Hints for Docker Desktop's file sharing; on Linux they mean nothing.
      else if (option != "cached" && option != "delegated" && option != "consistent")
        throw wrong(what, text, "'" + option + "' is not supported", form);
    }
  return parts[0] + ":" + parts[1] + ":" + mode;
}

MountOption parse_mount_option(const std::string& text, const std::string& what) {
  const char* form = "type=bind,source=SRC,target=DST[,readonly] or type=tmpfs,target=DST";
  std::string type = "volume";  // docker's default
  std::string source, target, options;
  bool read_only = false;
  for (const std::string& field : split(text, ',')) {
    const auto equals = field.find('=');
    const std::string key = field.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : field.substr(equals + 1);
    if (key == "type") {
      type = value;
    } else if (key == "source" || key == "src") {
      source = value;
    } else if (key == "target" || key == "dst" || key == "destination") {
      target = value;
    } else if (key == "readonly" || key == "ro") {
      if (!value.empty() && value != "true" && value != "1" && value != "false" && value != "0")
        throw wrong(what, text, "'" + field + "' is neither true nor false", form);
      read_only = value != "false" && value != "0";
    } else if (key == "tmpfs-size" || key == "tmpfs-mode") {
      options += (options.empty() ? "" : ",") + key.substr(6) + "=" + value;
    } else {
      throw wrong(what, text, "'" + key + "' is not supported", form);
    }
  }
  if (type != "bind" && type != "tmpfs") throw wrong(what, text, "type " + type + " is not supported", form);
  if (!is_target(target)) throw wrong(what, text, "the target must be an absolute path", form);
  if (type == "tmpfs") {
    if (!source.empty()) throw wrong(what, text, "a tmpfs has no source", form);
    if (read_only) options += options.empty() ? "ro" : ",ro";
    return {.bind = {}, .tmpfs = {target, options}};
  }
  if (!options.empty()) throw wrong(what, text, "tmpfs options belong to type=tmpfs", form);
  // The run's own text for mounts has ':' between the paths.
  if (source.find(':') != std::string::npos || target.find(':') != std::string::npos)
    throw wrong(what, text, "a path with ':' is not supported", form);
  if (!source.starts_with('/')) throw wrong(what, text, "the source must be an absolute path", form);
  return {.bind = source + ":" + target + (read_only ? ":ro" : ":rw"), .tmpfs = {}};
}

}  // namespace runner::api
