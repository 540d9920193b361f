// What the store's tests share: a real directory, a raw SQLite door beside the store's own, sample records, children
// that crash.
#pragma once

#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <string>

#include "runner/core/error.hpp"
#include "runner/core/run.hpp"

namespace store_test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "runner-store-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The first column of the first row as text, or "error: …": SQLite as somebody else would use the file.
inline std::string sql(const std::filesystem::path& file, const std::string& script) {
  sqlite3* handle = nullptr;
  sqlite3_open(file.c_str(), &handle);
  sqlite3_busy_timeout(handle, 5000);
  sqlite3_exec(handle, "PRAGMA foreign_keys=ON", nullptr, nullptr, nullptr);
  std::string first;
  bool seen = false;
  const auto row = [](void* context, int columns, char** values, char**) {
    auto& [text, is_seen] = *static_cast<std::pair<std::string*, bool*>*>(context);
    if (!*is_seen && columns > 0) *text = values[0] == nullptr ? "" : values[0];
    *is_seen = true;
    return 0;
  };
  std::pair<std::string*, bool*> context{&first, &seen};
  char* message = nullptr;
  sqlite3_exec(handle, script.c_str(), row, &context, &message);
  if (message != nullptr) first = std::string("error: ") + message;
  sqlite3_free(message);
  sqlite3_close(handle);
  return first;
}

inline runner::UtcTime at(std::int64_t microseconds) {
  return runner::UtcTime(std::chrono::microseconds(microseconds));
}

inline runner::Hash hash_of_byte(std::uint8_t byte) {
  runner::Hash hash;
  hash.bytes.fill(byte);
  return hash;
}

inline runner::RunRecord sample_run(const std::string& id, const std::string& experiment = "train") {
  runner::RunRecord run;
  run.id = id;
  run.experiment = experiment;
  run.status = runner::RunStatus::kQueued;
  run.created = at(1'700'000'000'000'000);
  run.definition.script = "train.py";
  run.definition.source_directory = "/src";
  run.environment.name = "user-managed";
  run.submission_digest = hash_of_byte(7);
  return run;
}

// The Error that `call` throws; the test fails if it throws none.
template <class Call>
runner::Error error_of(Call&& call) {
  try {
    call();
  } catch (const runner::Error& error) {
    return error;
  }
  FAIL("no error was thrown");
  throw std::logic_error("unreachable");
}

// Runs `body` in a child that kills itself with SIGKILL afterwards: nothing is closed, flushed or checkpointed.
template <class Body>
void crash_after(Body&& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    try {
      body();
    } catch (...) {
      ::_exit(1);
    }
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(WTERMSIG(status) == SIGKILL);
}

// Bytes that do not compress and are the same in every run of the test.
inline std::string random_bytes(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; i += 8) {
    const std::uint64_t value = generator();
    for (std::size_t j = i; j < std::min(size, i + 8); ++j) bytes[j] = static_cast<char>(value >> (8 * (j - i)));
  }
  return bytes;
}

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace store_test
