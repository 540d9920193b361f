// What of a claim is on the disk when, seen by the calls that put it there: fdatasync(2) and fsync(2) are this file's
// own.
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "runner/core/error.hpp"
#include "runner/shim/records.hpp"
#include "scratch_run.hpp"

namespace {

struct Synced {
  bool directory;
  off_t bytes;
  bool claimed;  // claim.json was there already
};
std::vector<Synced>* synced = nullptr;  // while a test looks
std::filesystem::path claim;
int refusal = 0;  // errno of fdatasync

void note(int file) {
  if (synced == nullptr) return;
  struct ::stat info {};
  ::fstat(file, &info);
  synced->push_back({S_ISDIR(info.st_mode), info.st_size, ::access(claim.c_str(), F_OK) == 0});
}

}  // namespace

extern "C" int fdatasync(int file) {
  note(file);
  if (refusal != 0) {
    errno = refusal;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fdatasync, file));
}

extern "C" int fsync(int file) {
  note(file);
  return static_cast<int>(::syscall(SYS_fsync, file));
}

namespace runner::shim {

TEST_CASE("a claim is on the disk before it has its name, and its name before the shim goes on") {
  const ScratchRun scratch;
  claim = scratch.run.claim();
  std::vector<Synced> seen;
  synced = &seen;
  const bool won = write_claim_once(scratch.run, {os::identify_self()});
  synced = nullptr;
  CHECK(won);
  REQUIRE(seen.size() == 2);
  CHECK_FALSE(seen[0].directory);
  CHECK(seen[0].bytes == static_cast<off_t>(std::filesystem::file_size(claim)));
  CHECK_FALSE(seen[0].claimed);
  CHECK(seen[1].directory);
  CHECK(seen[1].claimed);
}

TEST_CASE("a disk that does not take a claim leaves none") {
  const ScratchRun scratch;
  refusal = EIO;
  CHECK_THROWS_AS(write_claim_once(scratch.run, {os::identify_self()}), Error);
  refusal = 0;
  CHECK_FALSE(is_claimed(scratch.run));
  for (const auto& entry : std::filesystem::directory_iterator(scratch.run.root())) CHECK(entry.is_directory());
  CHECK(write_claim_once(scratch.run, {os::identify_self()}));
}

}  // namespace runner::shim
