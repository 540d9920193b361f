#include "snapshot/survey.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "support.hpp"

namespace fs = std::filesystem;
using runner::Error;
using runner::ErrorCode;
using namespace runner::test;
using namespace runner::snapshot;

TEST_CASE("a survey names exactly the files that a snapshot then holds, with their types and sizes") {
  const TempDir dir;
  write_file(dir.path() / ".gitignore", "*.log\nbuild/\n");
  write_file(dir.path() / "a.log", "out");
  write_file(dir.path() / "build/x", "out");
  write_file(dir.path() / "main.py", "print(1)\n");
  write_file(dir.path() / "sub/run.sh", "#!/bin/sh\n", 0755);
  write_file(dir.path() / "sub-x", "");
  write_file(dir.path() / "\xff\n", "bytes");
  fs::create_symlink("/nowhere", dir.path() / "link");
  fs::create_directories(dir.path() / "empty");
  REQUIRE(::mkfifo((dir.path() / "fifo").c_str(), 0644) == 0);
  const Options options{.source = dir.path(), .data_directory = {}, .stat_cache = dir.path() / "cache"};
  const Survey survey = runner::snapshot::survey(options);
  CHECK_FALSE(fs::exists(dir.path() / "cache"));

  MemoryStore store;
  const Snapshot taken = take({.source = dir.path(), .data_directory = {}, .stat_cache = {}}, store);
  std::vector<std::string> expected;
  for_each_entry(store, taken.id, [&](const Entry& entry) {
    if (entry.type != EntryType::kDirectory)
      expected.push_back(entry.path + " " + static_cast<char>(entry.type) + " " + std::to_string(entry.bytes));
  });
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> surveyed;
  for (const SurveyedFile& file : survey.files)
    surveyed.push_back(file.path + " " + static_cast<char>(file.type) + " " + std::to_string(file.bytes));
  std::sort(surveyed.begin(), surveyed.end());
  CHECK(surveyed == expected);
  CHECK(survey.files.size() == static_cast<std::size_t>(taken.files));
  CHECK(survey.bytes == taken.bytes);
  CHECK(survey.warnings == taken.warnings);
  CHECK(std::is_sorted(survey.files.begin(), survey.files.end(),
                       [](const SurveyedFile& a, const SurveyedFile& b) { return a.path < b.path; }));
}

TEST_CASE("a survey refuses files that may not be read, as a snapshot does, all at once") {
  if (::geteuid() == 0) {
    // Access is asked for with the effective uid, and root may read everything: the functional tests have it.
    SUCCEED("root reads everything");
    return;
  }
  const TempDir dir;
  for (const char* name : {"one", "two"}) write_file(dir.path() / name, "x", 0);
  try {
    runner::snapshot::survey({.source = dir.path(), .data_directory = {}, .stat_cache = {}});
    FAIL("was surveyed");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::kPermission);
    CHECK(error.message().find("one") != std::string::npos);
    CHECK(error.message().find("two") != std::string::npos);
  }
}
