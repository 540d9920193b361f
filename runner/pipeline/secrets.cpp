#include "runner/pipeline/secrets.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <toml++/toml.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include "runner/core/error.hpp"
#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"

namespace runner::pipeline {
namespace {

constexpr std::size_t kMostFileBytes = 4 << 20;  // 64 of the longest values

std::string position(const std::filesystem::path& file, const toml::source_region& where) {
  return file.string() + ":" + std::to_string(where.begin.line) + ":" + std::to_string(where.begin.column) + ": ";
}

// Judged on the descriptor that is read, so that nothing can be put in its place in between.
void require_private(const os::Fd& fd, const std::filesystem::path& file) {
  struct ::stat info {};
  if (::fstat(fd.get(), &info) != 0) throw errno_error(errno, "look at " + file.string());
  if (!S_ISREG(info.st_mode))
    throw Error(ErrorCode::kPermission, "secrets: " + file.string() + " is not a regular file",
                "make it a file with lines NAME = \"value\"");
  if (info.st_uid != ::geteuid())
    throw Error(ErrorCode::kPermission, "secrets: " + file.string() + " belongs to somebody else",
                "chown it to the user the daemon runs as");
  if ((info.st_mode & 077) != 0)
    throw Error(ErrorCode::kPermission, "secrets: " + file.string() + " is open to other users",
                "chmod 600 " + file.string());
}

std::optional<std::string> read_private(const std::filesystem::path& file) {
  // O_NONBLOCK: a FIFO in its place must not hold the daemon up.
  const os::Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw errno_error(errno, "secrets: open " + file.string());
  }
  require_private(fd, file);
  std::string text;
  std::array<char, 64 * 1024> buffer{};
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(errno, "secrets: read " + file.string());
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMostFileBytes) throw Error(ErrorCode::kInvalid, "secrets: " + file.string() + ": over 4 MiB");
  }
}

std::map<std::string, std::string> secrets_of(const std::filesystem::path& file) {
  std::map<std::string, std::string> secrets;
  const auto text = read_private(file);
  if (!text) return secrets;
  const char* form = "write lines NAME = \"value\"";
  try {
    for (const auto& [key, node] : toml::parse(*text)) {
      const auto value = node.value_exact<std::string>();
      if (!value)
        throw Error(ErrorCode::kInvalid,
                    position(file, node.source()) + "'" + std::string(key.str()) + "' is not a string", form);
      secrets.emplace(key.str(), *value);
    }
  } catch (const toml::parse_error& error) {
    // Its description quotes the text around the mistake: a piece of a value, perhaps.
    throw Error(ErrorCode::kInvalid, position(file, error.source()) + "not TOML", form);
  }
  return secrets;
}

void check_value(const std::string& name, const std::string& value) {
  if (value.size() > kMostSecretBytes)
    throw Error(ErrorCode::kInvalid, "--secret " + name + ": its value is longer than 64 KiB",
                "mount the file that holds it: --mount SRC:DST");
  if (value.find('\0') != std::string::npos)
    throw Error(ErrorCode::kInvalid, "--secret " + name + ": its value holds a zero byte",
                "mount the file that holds it: --mount SRC:DST");
}

}  // namespace

std::filesystem::path default_secrets_file() {
  if (const char* base = std::getenv("XDG_CONFIG_HOME"); base && *base == '/')
    return std::filesystem::path(base) / "runner" / "secrets.toml";
  const char* home = std::getenv("HOME");
  return std::filesystem::path(home ? home : "/") / ".config" / "runner" / "secrets.toml";
}

std::map<std::string, std::string> find_secrets(const std::vector<std::string>& names,
                                                const std::map<std::string, std::string>& offered,
                                                const std::filesystem::path& file) {
  std::map<std::string, std::string> found;
  if (names.empty()) return found;
  const auto kept = secrets_of(file);
  for (const std::string& name : names) {
    auto value = kept.find(name);
    if (value == kept.end()) {
      value = offered.find(name);
      if (value == offered.end())
        throw Error(ErrorCode::kInvalid,
                    "--secret " + name + ": neither in " + file.string() + " nor a variable of the caller",
                    "add the line " + name + " = \"…\" to the file (mode 600), or set the variable");
    }
    check_value(name, value->second);
    found.emplace(name, value->second);
  }
  return found;
}

}  // namespace runner::pipeline
