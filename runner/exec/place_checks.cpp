#include "runner/exec/place_checks.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>

#include "runner/os/fd.hpp"
#include "runner/os/file.hpp"

namespace runner::exec {
namespace {

using std::filesystem::path;

enum class Fitness {
  kShared,    // several machines may write to it, and the WAL's index is memory of one
  kNoLayers,  // overlayfs takes none of its directories as an upper layer
  kVolatile,  // gone at the next reboot
};
struct KnownType {
  std::uint64_t magic;  // linux/magic.h, or the driver's own
  std::string_view name;
  Fitness fitness;
};
constexpr std::array<KnownType, 23> kKnown{{
    {0x6969, "NFS", Fitness::kShared},
    {0x517B, "SMB", Fitness::kShared},
    {0xFF534D42, "CIFS", Fitness::kShared},
    {0xFE534D42, "SMB", Fitness::kShared},
    {0x01021997, "9p", Fitness::kShared},
    {0x5346414F, "AFS", Fitness::kShared},
    {0x6B414653, "AFS", Fitness::kShared},
    {0x00C36400, "Ceph", Fitness::kShared},
    {0x0BD00BD0, "Lustre", Fitness::kShared},
    {0x47504653, "GPFS", Fitness::kShared},
    {0x19830326, "BeeGFS", Fitness::kShared},
    {0x7461636F, "OCFS2", Fitness::kShared},
    {0x01161970, "GFS2", Fitness::kShared},
    {0x786F4256, "VirtualBox's shared folders", Fitness::kShared},
    {0xBACBACBC, "VMware's shared folders", Fitness::kShared},
    {0x7C7C6673, "Parallels' shared folders", Fitness::kShared},
    {0x65735546, "FUSE", Fitness::kNoLayers},
    {0xF15F, "ecryptfs", Fitness::kNoLayers},
    {0x794C7630, "overlay", Fitness::kNoLayers},
    {0x4D44, "FAT", Fitness::kNoLayers},
    {0x2011BAB0, "exFAT", Fitness::kNoLayers},
    {0x01021994, "tmpfs", Fitness::kVolatile},
    {0x858458F6, "ramfs", Fitness::kVolatile},
}};
// FUSE has one number for all; these are a network's or another machine's.
constexpr std::array<std::string_view, 7> kSharedFuse{"sshfs",     "rclone", "s3fs",    "gcsfuse",
                                                      "blobfuse2", "davfs",  "virtiofs"};

const KnownType* known(std::uint64_t type) {
  const auto found =
      std::find_if(kKnown.begin(), kKnown.end(), [&](const KnownType& one) { return one.magic == type; });
  return found == kKnown.end() ? nullptr : &*found;
}

std::optional<Fitness> fitness_of(const PlaceFacts& facts) {
  const auto is_shared = [&](std::string_view name) { return facts.name.find(name) != std::string::npos; };
  if (std::any_of(kSharedFuse.begin(), kSharedFuse.end(), is_shared)) return Fitness::kShared;
  const KnownType* type = known(facts.type);
  return type == nullptr ? std::nullopt : std::optional(type->fitness);
}

std::string name_of(const PlaceFacts& facts) {
  const KnownType* type = known(facts.type);
  if (type == nullptr) return facts.name.empty() ? "an unknown file system" : facts.name;
  std::string name(type->name);
  if (facts.name.starts_with("fuse.")) name += " (" + facts.name.substr(std::string_view("fuse.").size()) + ")";
  return name;
}

constexpr const char* kElsewhere =
    "choose a directory on a local disk (ext4, xfs, btrfs) with --home DIR or RUNNER_HOME";

// The type in the line of /proc/self/mountinfo that has this device.
std::string mounted_type(::dev_t device) {
  std::istringstream lines(os::read_file_if_exists("/proc/self/mountinfo").value_or(""));
  const std::string wanted = " " + std::to_string(major(device)) + ":" + std::to_string(minor(device)) + " ";
  for (std::string line; std::getline(lines, line);) {
    const auto separator = line.find(" - ");
    if (separator == std::string::npos || line.find(wanted) > separator) continue;
    const auto begin = separator + 3;
    return line.substr(begin, line.find(' ', begin) - begin);
  }
  return {};
}

bool can_map(const path& directory) {
  constexpr std::size_t kBytes = 32 << 10;  // of the WAL's index
  const os::Fd file(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  std::string name;
  os::Fd named;
  if (!file) {  // not every file system has files without a name
    name = (directory / ".tmp-map-XXXXXX").string();
    named.reset(::mkostemp(name.data(), O_CLOEXEC));
    if (!named) return true;  // not to be written to at all: somebody else says so
    ::unlink(name.c_str());
  }
  const int fd = file ? file.get() : named.get();
  if (::ftruncate(fd, kBytes) != 0) return true;  // a full disk
  void* mapped = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return false;
  ::munmap(mapped, kBytes);
  return true;
}

}  // namespace

PlaceFacts look_at_place(const path& home, bool try_mapping) {
  PlaceFacts facts{.home = home};
  path place = home;
  struct ::statfs info {};
  while (::statfs(place.c_str(), &info) != 0 && place.has_relative_path()) place = place.parent_path();
  facts.type = static_cast<std::uint32_t>(info.f_type);
  facts.free = static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
  facts.inodes = static_cast<std::int64_t>(info.f_files);
  facts.free_inodes = static_cast<std::int64_t>(info.f_ffree);
  struct ::stat directory {};
  if (::stat(place.c_str(), &directory) == 0) facts.name = mounted_type(directory.st_dev);
  if (try_mapping) facts.maps = can_map(place);
  return facts;
}

Check check_file_system(const PlaceFacts& facts) {
  Check check{.name = "file system", .works = false, .detail = {}, .remedy = kElsewhere};
  const std::string name = name_of(facts);
  const auto fitness = fitness_of(facts);
  if (!facts.maps) {
    check.detail = name + ": files cannot be mapped as SQLite's write-ahead log needs it";
  } else if (fitness == Fitness::kShared) {
    check.detail = name + ": another machine may write to it, too, and SQLite's write-ahead log knows one machine only";
  } else if (fitness == Fitness::kNoLayers) {
    check.detail = name + ": overlayfs takes no directory of it as a layer that a run writes to";
    if (facts.type == 0x794C7630)
      check.remedy =
          "inside of a container, mount a volume for it (docker run -v runner:/data) and name that: --home /data";
  } else if (fitness == Fitness::kVolatile) {
    check.detail = name + ": it is memory, and the history of runs with it is lost at the next reboot";
  } else {
    check.works = true;
    check.detail = name;
    check.remedy.clear();
  }
  check.detail += " (" + facts.home.string() + ")";
  return check;
}

Check check_disk(const PlaceFacts& facts) {
  constexpr std::int64_t kLittle = std::int64_t{512}
                                   << 20;  // bytes; below this a first run's checkout and log may not fit
  constexpr std::int64_t kFewInodes = 1000;
  Check check{.name = "disk", .works = false, .detail = {}, .remedy = {}};
  const bool few = facts.inodes > 0 && facts.free_inodes <= kFewInodes;  // btrfs counts none
  check.works = facts.free >= kLittle && !few;
  check.detail = format_size(facts.free) + " free for " + facts.home.string();
  if (few) check.detail += ", but room for " + std::to_string(facts.free_inodes) + " more files only (inodes)";
  if (!check.works)
    check.remedy =
        few ? "remove directories of many small files, or choose another place with --home or RUNNER_HOME"
            : "free some disk space (`runner gc` frees what no run needs), or choose another place with --home or "
              "RUNNER_HOME";
  return check;
}

std::optional<Error> unfit_place(const PlaceFacts& facts) {
  if (facts.maps && fitness_of(facts) != Fitness::kShared) return std::nullopt;
  const Check check = check_file_system(facts);
  return Error(ErrorCode::kUnavailable,
               "home " + facts.home.string() + ": " + check.detail.substr(0, check.detail.rfind(" (")), check.remedy);
}

std::optional<bool> clock_is_synchronised() {
  struct ::timex state {};
  const int result = ::adjtimex(&state);
  if (result < 0) return std::nullopt;
  return result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

Check check_clock(const ClockFacts& facts) {
  constexpr auto kSlack = std::chrono::seconds(5);  // of an NTP client that steps
  constexpr UtcTime kYear2020{std::chrono::seconds(1'577'836'800)};
  Check check{.name = "clock", .works = false, .detail = to_iso8601(facts.now).substr(0, 19) + "Z", .remedy = {}};
  if (facts.now < kYear2020) {
    check.detail += ": that is long ago; certificates are not valid yet, and runs would be sorted wrongly by date";
    check.remedy = "set it: sudo timedatectl set-ntp true, or sudo date -s \"YYYY-MM-DD HH:MM\"";
  } else if (facts.newest && *facts.newest > facts.now + kSlack) {
    check.detail += ": it has stepped back, the newest run is of " + to_iso8601(*facts.newest).substr(0, 19) +
                    "Z; runs keep their order, ages and --since are wrong until then";
    check.remedy = "let the network set it: sudo timedatectl set-ntp true";
  } else {
    check.works = true;
    if (facts.synchronised) check.detail += *facts.synchronised ? ", synchronised" : ", not synchronised by NTP";
  }
  return check;
}

}  // namespace runner::exec
