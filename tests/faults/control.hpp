// The page that a test and the library share (mapped from the file that RUNNER_FAULTS names). faults.py writes the same
// layout: every field is 8 bytes, then two texts that end with a zero byte.
#pragma once

#include <atomic>
#include <cstdint>

namespace faults {

inline constexpr std::int64_t kMagic = 0x3130'544c'5541'4652;  // "RFAULT01"

enum Kind : std::int64_t {
  kWrite = 1,     // write, pwrite, writev, sendfile, copy_file_range: of regular files
  kSync = 2,      // fsync, fdatasync, syncfs
  kTruncate = 4,  // ftruncate, fallocate
  kRename = 8,
  kLink = 16,  // hard and symbolic
  kUnlink = 32,
  kMake = 64,   // mkdir, mknod
  kOpen = 128,  // with O_CREAT or O_TMPFILE
  kSpawn = 256,
  kSend = 512,  // anything sent over a socket: answers
};

enum class Action : std::int64_t {
  kNone = 0,  // only counted
  kKillBefore = 1,
  kKillAfter = 2,
  kKillHalfWay = 3,  // of writes: half of it is written
  kFail = 4,
  kFailHalfWay = 5,  // half is written and said to be written, as on a disk that is almost full
  kStop = 6,         // SIGSTOP, then the call
};

struct Control {
  std::int64_t magic;
  std::int64_t kinds;  // of the calls that count; 0: none
  Action action;
  std::int64_t first, last;  // the calls that are hit, counted from 1
  std::int64_t error;        // errno of kFail
  std::atomic<std::int64_t> count;
  std::atomic<std::int64_t> fired;
  std::int64_t wall_offset;  // ns added to CLOCK_REALTIME
  std::int64_t boot_offset;  // ns added to CLOCK_BOOTTIME
  char path[256];            // calls count whose path contains it; empty: all
  char fired_at[8512];       // the first call that was hit, and its path
};

}  // namespace faults
